"""How a file is divided into parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.storage.parts import MOST_PARTS, SMALLEST, Part, all_parts, full_parts, part

MIB = 1024**2
GIB = 1024**3
TIB = 1024**4


def test_parts_have_the_same_size_up_to_19_gib() -> None:
    assert {part(number).size for number in range(1, 4001)} == {5 * MIB}
    assert part(4000).end > 19 * GIB


def test_ten_thousand_parts_suffice_for_5_tib_within_the_limits_of_s3() -> None:
    assert part(MOST_PARTS).end >= 5 * TIB
    assert all(5 * MIB <= part(number).size <= 5 * GIB for number in range(1, MOST_PARTS + 1))


@given(st.integers(min_value=0, max_value=60 * GIB))
def test_parts_cover_the_file_once_and_only_the_last_one_is_smaller(size: int) -> None:
    parts = all_parts(size)
    assert sum(one.size for one in parts) == size
    assert [one.offset for one in parts] == [0, *(one.end for one in parts)][: len(parts)]
    assert [one.number for one in parts] == list(range(1, len(parts) + 1))
    assert all(one.size == part(one.number).size for one in parts[:-1])


@pytest.mark.parametrize(
    ("size", "full"),
    [(0, 0), (SMALLEST - 1, 0), (SMALLEST, 1), (2 * SMALLEST - 1, 1), (2 * SMALLEST, 2)],
)
def test_a_growing_file_has_only_full_parts(size: int, full: int) -> None:
    assert len(full_parts(size)) == full


def test_the_last_part_of_a_file_may_be_one_byte() -> None:
    assert all_parts(SMALLEST + 1) == [Part(1, 0, SMALLEST), Part(2, SMALLEST, 1)]


@pytest.mark.parametrize("number", [0, MOST_PARTS + 1])
def test_a_part_beyond_the_limits_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="allowed is 1 to 10000"):
        part(number)


def test_a_file_beyond_the_limits_is_refused() -> None:
    assert len(all_parts(part(MOST_PARTS).end)) == MOST_PARTS
    with pytest.raises(ValueError, match="allowed are"):
        all_parts(part(MOST_PARTS).end + 1)
