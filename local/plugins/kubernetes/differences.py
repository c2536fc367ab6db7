"""What differs between two objects, path by path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from local.plugins.kubernetes.paths import Path, covers

_NOTHING = object()


class Change(Enum):
    """What becomes of a field."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Difference:
    """One field that changes. Values are left out: they may be secret, and the engine has them."""

    path: Path
    change: Change


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[Difference]:
    """Every innermost place at which `new` is not `old`; list items are compared by position."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _at((*path, key), old.get(key, _NOTHING), new.get(key, _NOTHING))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _NOTHING
            after = new[index] if index < len(new) else _NOTHING
            yield from _at((*path, index), before, after)
    elif old != new:
        yield Difference(path, Change.UPDATE)


def _at(path: Path, old: Any, new: Any) -> Iterator[Difference]:
    if old is _NOTHING or new is _NOTHING:
        yield Difference(path, Change.ADD if old is _NOTHING else Change.DELETE)
    else:
        yield from differences(old, new, path)


def without(found: list[Difference], ignored: list[Path]) -> list[Difference]:
    """`found` without what the program asked to ignore."""
    return [one for one in found if not any(covers(pattern, one.path) for pattern in ignored)]
