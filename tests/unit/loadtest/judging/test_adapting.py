from __future__ import annotations

from typing import Any

import pytest

from loadtest.definition.profile import Direction
from loadtest.judging.adapting import StepDown, adapt_s, steps_down
from loadtest.judging.not_measured import NotMeasured
from loadtest.result import CapacityChange, Second
from tests.unit.loadtest.judging.judged import facts, replaced, result, seconds


def change(at_s: float, down_kbps: int | None) -> CapacityChange:
    return CapacityChange(at_s=at_s, group="viewers", down_kbps=down_kbps, up_kbps=None)


DOWN_AT_20 = facts(capacity=(change(20, 600),))


def bad(at_s: float, **changed: Any) -> Second:
    return Second(**{"at_s": at_s, "pictures": 2, "age_max_ms": 1900, "received_kbps": 500, **changed})


def good_after_20() -> tuple[Second, ...]:
    return replaced(seconds(), *seconds(20, 40, received_kbps=450, height=360))


def test_steps_of_rfc_8867() -> None:
    found = steps_down(
        facts(down=Direction(rate_kbps=1000), capacity=(change(12, 2500), change(20, 600), change(30, 1000)))
    )
    assert found == (StepDown(at_s=20, until_s=30, down_kbps=600),)


def test_a_change_of_the_other_direction_is_no_step() -> None:
    assert steps_down(facts(capacity=(change(20, None),))) == ()


def test_a_step_before_the_window_is_the_level_that_the_next_one_is_held_against() -> None:
    assert steps_down(facts(capacity=(change(5, 500), change(20, 600)))) == ()


def test_a_link_without_a_limit_loses_capacity_by_its_first_one() -> None:
    assert len(steps_down(facts(down=Direction(), capacity=(change(20, 600),)))) == 1


def test_it_adapts_where_two_good_seconds_follow_each_other() -> None:
    # A second is told when it is over: bad until 23, good by luck until 24, bad until 25, then good.
    mixed = replaced(good_after_20(), *(bad(at) for at in (21, 22, 23, 25)))
    assert adapt_s(result(seconds=mixed), DOWN_AT_20) == 5


def test_a_picture_that_did_not_suffer_has_adapted_at_once() -> None:
    assert adapt_s(result(seconds=good_after_20()), DOWN_AT_20) == 0


@pytest.mark.parametrize(
    "because",
    [{"age_max_ms": 501}, {"pictures": 0, "age_max_ms": 100}, {"received_kbps": 700, "age_max_ms": 100}],
)
def test_what_keeps_a_second_from_being_good(because: dict[str, float]) -> None:
    whole = replaced(seconds(), *(bad(at, **{"pictures": 15, **because}) for at in range(20, 40)))
    with pytest.raises(NotMeasured, match="did not adapt to 600 kbit/s within the 20 s"):
        adapt_s(result(seconds=whole), DOWN_AT_20)


def test_old_pictures_are_usual_on_a_slow_link() -> None:
    slow = replaced(seconds(age_max_ms=400), *seconds(20, 40, received_kbps=450, age_max_ms=700))
    assert adapt_s(result(seconds=slow), DOWN_AT_20) == 0


def test_the_slowest_of_several_steps_counts() -> None:
    twice = facts(capacity=(change(12, 900), change(20, 600)))
    mixed = replaced(seconds(received_kbps=450), *(bad(at) for at in (21, 22, 23)))
    assert adapt_s(result(seconds=mixed), twice) == 3


def test_seconds_that_a_dead_client_does_not_tell_are_not_good() -> None:
    with pytest.raises(NotMeasured, match="did not adapt"):
        adapt_s(result(seconds=seconds(5, 21)), DOWN_AT_20)


def test_without_a_step_there_is_nothing_to_adapt_to() -> None:
    with pytest.raises(NotMeasured, match="no link of its group lost capacity"):
        adapt_s(result(), facts())
