"""Checks of a request's fields. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from recorder.errors import invalid_field


def whole(name: str, given: int, default: int, allowed: range) -> int:
    """A whole number; 0 is the default of a field. Raises EgressError."""
    if given == 0:
        return default
    if given not in allowed:
        raise invalid_field(name, given, span(allowed))
    return given


def required(name: str, given: str, what: str) -> str:
    """A text that must not be empty; `what` says what it is. Raises EgressError."""
    if not given:
        raise invalid_field(name, given, what)
    return given


def span(allowed: range) -> str:
    """A range in an error's text."""
    return f"{allowed.start} to {allowed.stop - 1}"


def listed(values: Iterable[object]) -> str:
    """Alternatives in an error's text."""
    return ", ".join(str(value) for value in values)
