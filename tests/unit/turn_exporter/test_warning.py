"""When the log gets a warning, and when it is over."""

from __future__ import annotations

from turn_exporter.warning import Warnings


def test_one_line_at_80_percent_and_one_when_fewer_than_70_are_taken() -> None:
    warnings = Warnings(1000)
    assert [warnings.look(taken) for taken in (0, 799)] == [None, None]
    assert str(warnings.look(800)).startswith("warning: 800 of 1000 allocations are taken")
    # Up and down at the edge of it.
    assert [warnings.look(taken) for taken in (790, 801, 1000, 700)] == [None] * 4
    assert warnings.look(699) == "699 of 1000 allocations are taken: the warning is over"
    assert warnings.look(699) is None
    assert warnings.look(900) is not None
