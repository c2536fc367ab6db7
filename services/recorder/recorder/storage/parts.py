"""How a file is divided into the parts of a multipart upload. Pure.

S3's limits (Amazon S3 User Guide, "multipart upload limits") are 10,000 parts of 5 MiB to 5 GiB. Only the
last part may be smaller. In Cloudflare R2 all parts but the last one must have the same size (R2
documentation, "Multipart upload"). So the first 4000 parts have 5 MiB, which is 19.5 GiB, or 18 hours of
2.5 Mbit/s. Later ones grow, so that 10,000 parts suffice for 5 TiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate

SMALLEST = 5 * 1024 * 1024
MOST_PARTS = 10_000
_EQUAL_PARTS = 4000
# The growth reaches 5 TiB at part 10,000 with parts of at most 2.6 GiB.
_GROWTH = 260


@dataclass(frozen=True)
class Part:
    """A range of bytes of the file. Numbers count from 1."""

    number: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def part(number: int) -> Part:
    """The part with this number, if the file is long enough for it.

    Raises:
        ValueError: the number is not between 1 and 10,000.
    """
    if not 1 <= number <= MOST_PARTS:
        raise ValueError(f"part {number}; allowed is 1 to {MOST_PARTS}")
    ends = _ends()
    return Part(number, ends[number - 1], ends[number] - ends[number - 1])


def full_parts(size: int) -> list[Part]:
    """The parts that are complete in a file that has `size` bytes and still grows."""
    found = []
    for number in range(1, MOST_PARTS + 1):
        one = part(number)
        if one.end > size:
            break
        found.append(one)
    return found


def all_parts(size: int) -> list[Part]:
    """The parts of a file with `size` bytes, of which the last one may be smaller than its plan.

    Raises:
        ValueError: the file is larger than what 10,000 parts hold, 5 TiB.
    """
    found = full_parts(size)
    covered = found[-1].end if found else 0
    if covered < size:
        found.append(Part(len(found) + 1, covered, size - covered))
    if len(found) > MOST_PARTS:
        raise ValueError(f"a file of {size} bytes; allowed are {_ends()[-1]}")
    return found


@cache
def _ends() -> tuple[int, ...]:
    """Where each part ends; the first number is 0."""
    return tuple(accumulate((_size(number) for number in range(1, MOST_PARTS + 1)), initial=0))


def _size(number: int) -> int:
    beyond = max(0, number - _EQUAL_PARTS)
    return SMALLEST + SMALLEST * beyond * beyond // (_GROWTH * _GROWTH)
