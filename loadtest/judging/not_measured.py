"""What is said where a metric has no value."""

from __future__ import annotations


class NotMeasured(Exception):
    """A metric has no value; the message says why, such as "viewers-2 got no picture of creator-1's camera".

    Its own module, for metrics of clients and of the run, and what they are made of, raise it alike.
    """
