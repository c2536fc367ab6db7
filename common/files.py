"""Replacing a file or a symbolic link in one step."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write `text`. A reader finds the old file or the new one, also after this process or the machine died.

    Args:
        mode: permissions of the file, from its first byte on; the usual ones without it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    if mode is not None:
        fresh.touch(mode)
        # A killed process may have left one with other permissions.
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
