"""Reading what one of several keys signed, while a key is replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def by_any(keys: Sequence[_Key], read: Callable[[_Key], _Value], refusal: type[Exception]) -> _Value:
    """The value that `read` returns for the first key that it accepts.

    Args:
        keys: at least one.
        read: raises `refusal` if the key is not the right one.

    Raises:
        Exception: what `read` raises for the last key, or another exception than `refusal` for any key.
    """
    *others, last = keys
    for key in others:
        with suppress(refusal):
            return read(key)
    return read(last)
