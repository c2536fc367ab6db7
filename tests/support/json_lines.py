"""Files of JSON lines, one line for each value of a dataclass. They are only appended to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def append(file: Path, values: Iterable[Any]) -> None:
    """Append dataclass instances."""
    with file.open("a") as lines:
        lines.writelines(json.dumps(asdict(value)) + "\n" for value in values)


def read(file: Path, kind: type[_Value]) -> list[_Value]:
    """All values in a file; none if there is no file.

    Args:
        kind: the dataclass of every line.
    """
    lines = file.read_text().splitlines() if file.exists() else []
    return [kind(**json.loads(line)) for line in lines]
