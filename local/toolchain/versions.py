"""Whether the version of a program on the machine is good enough to use instead of ours."""

from __future__ import annotations

import re


def numbers(text: str) -> tuple[int, int, int] | None:
    """The first version in `text`: major, minor and patch.

    >>> numbers("Client Version: v1.34.0")
    (1, 34, 0)
    """
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def fits(printed: str, wanted: str) -> bool:
    """Whether a version command's output names a version with `wanted`'s major number that is not older.

    >>> fits("v3.260.1", "v3.250.0"), fits("v4.0.0", "v3.22.0"), fits("Client Version: v1.34.0", "v1.35.4")
    (True, False, False)
    """
    have, want = numbers(printed), numbers(wanted)
    return have is not None and want is not None and have[0] == want[0] and have >= want
