"""The two ways in which a run ends before it is done."""

from __future__ import annotations


class CouldNotRun(Exception):
    """Something that the run needs is not there. The message is a sentence for people."""


class Interrupted(Exception):
    """It was told to end. The message says during what."""
