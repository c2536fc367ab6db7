"""The root of what a plugin says no with."""


class PluginError(Exception):
    """Something that the user can do something about: the message is shown as it is, without a traceback."""
