"""Replacing a file or a symbolic link in one step."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write `text` atomically: readers see the old or the new file, even if the process or machine dies.

    Args:
        mode: permissions of the file, set before anything is written; the default permissions without it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    if mode is not None:
        fresh.touch(mode)
        # A killed process may have left this file with other permissions.
        fresh.chmod(mode)
    fresh.write_text(text, encoding="utf-8")
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)


def link_whole(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`. A reader finds the old file or the new link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    # A killed process may have left one.
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(path)
