"""Property paths, as the engine writes them: `spec.ports[0].port`, `metadata.labels["a/b"]`."""

from __future__ import annotations

import re
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

# A step that stands for every index or key, as in `spec.containers[*].image`.
ANY = "*"
_STEP = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|\.?([^.\[\]"]+)')


def parse(text: str) -> Path:
    """The steps of a path.

    Raises:
        ValueError: `text` is no property path.
    """
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is no property path: cannot read it from character {position + 1} on")
        quoted, index, name = match.groups()
        if quoted is not None:
            steps.append(quoted.replace('\\"', '"').replace("\\\\", "\\"))
        elif index is not None:
            steps.append(ANY if index == ANY else int(index))
        else:
            steps.append(name)
        position = match.end()
    return tuple(steps)


def format(path: Path) -> str:
    """The reverse of `parse`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.search(r'[.\[\]"]', step):
            escaped = step.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{step}" if text else step
    return text


def covers(pattern: Path, path: Path) -> bool:
    """Whether `path` is what `pattern` names, or lies within it."""
    return len(pattern) <= len(path) and all(
        mine in (theirs, ANY) for mine, theirs in zip(pattern, path, strict=False)
    )
