"""`pulumi-language-python`: runs a Pulumi program in Python for the engine."""
