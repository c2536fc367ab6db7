"""What a run takes away of itself at its end, and what it says where that fails."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.targets.rooms import TargetUnusable
from loadtest.targets.target import Target


def delete_rooms(target: Target, rooms: Sequence[str]) -> str:
    """Delete the run's own rooms; gives a sentence where that was not possible, else an empty text."""
    try:
        target.delete_rooms(rooms)
    except TargetUnusable as error:
        return f"rooms {', '.join(rooms)} could not be deleted: {error}"
    return ""
