"""The judgement of what was measured. The measuring itself is in tests/network."""

from __future__ import annotations

import json

import pytest

from loadtest.definition.profile import Direction, Loss, load_profile
from loadtest.net.burst import Received
from loadtest.net.calibration import (
    Calibration,
    capacity_rows,
    delay_rows,
    dense_interval_ms,
    judge,
    loss_row,
    sparse_interval_ms,
)
from loadtest.net.irtt import Failed, Measured, parse
from loadtest.net.link import LinkStatistics

NO_LINKS = LinkStatistics(
    backend=None, lost_down=0, lost_up=0, overflowed_down=0, overflowed_up=0, emulator=None
)
UNIFORM = [25 + 100 * (index + 0.5) / 200 for index in range(200)]  # 75 ± 50 ms, spread evenly


def _measured(up_ms: list[float], *, sent: int = 1000, served: int = 1000, returned: int = 1000) -> Measured:
    down_ms = [2 * delay for delay in up_ms]
    return Measured(tuple(up_ms), tuple(down_ms), sent=sent, served=served, returned=returned)


def test_a_link_with_its_claimed_delay_and_jitter_is_ok() -> None:
    delay, jitter = delay_rows("up", load_profile("3g").up, [_measured(UNIFORM)])
    assert [delay.requested, delay.achieved] == pytest.approx([75, 75])
    assert [jitter.requested, jitter.achieved] == pytest.approx([50, 50], abs=0.5)
    # 0.75 ms + 2 % + 4 · 50/√200
    assert delay.tolerance == pytest.approx(0.75 + 1.5 + 14.14, abs=0.01)
    assert (delay.samples, delay.ok, jitter.ok) == (200, True, True)


@pytest.mark.parametrize("name", ["3g-slow", "3g", "4g", "wifi", "rmcat-step"])
def test_twice_the_delay_is_caught(name: str) -> None:
    direction = load_profile(name).up
    shifted = [
        max(0, 2 * direction.delay_ms + direction.jitter_ms * (index - 95) / 95) for index in range(191)
    ]
    delay, _ = delay_rows("up", direction, [_measured(shifted)] * (10 if name == "wifi" else 1))
    assert not delay.ok


def test_each_direction_is_judged_by_its_own_delays() -> None:
    assert delay_rows("down", load_profile("3g").up, [_measured(UNIFORM)])[0].achieved == pytest.approx(150)


def test_jitter_that_is_cut_off_at_zero_is_expected_to_be() -> None:
    # wifi-like with more jitter than twice the delay: quartiles of max(0, 2 ± 10) are 0 and 7.
    _, jitter = delay_rows("up", Direction(delay_ms=2, jitter_ms=10), [_measured([0.0, 0, 7, 7] * 50)])
    assert (jitter.requested, jitter.achieved, jitter.ok) == (7, 7, True)


def test_a_late_wake_up_or_two_do_not_make_a_link_slow() -> None:
    samples = [5.1] * 100 + [80.0] * 5
    delay, jitter = delay_rows("up", Direction(delay_ms=5), [_measured(samples)])
    assert delay.ok
    assert jitter.ok


def test_loss_is_by_direction_and_of_what_was_sent_there() -> None:
    measured = _measured([], sent=1000, served=950, returned=855)
    up, down = loss_row("up", Direction(), measured), loss_row("down", Direction(), measured)
    assert [up.achieved, up.samples] == pytest.approx([5, 1000])
    assert [down.achieved, down.samples] == pytest.approx([10, 950])
    assert not up.ok
    assert not down.ok


def test_the_tolerance_of_loss_is_four_standard_errors_and_a_packet() -> None:
    direction = Direction(loss=Loss(lost_in_good=0.05))
    expected = 100 * (4 * (0.05 * 0.95 / 1000) ** 0.5 + 1 / 1000)
    for served in (950, 925, 975):
        row = loss_row("up", direction, _measured([], served=served))
        assert row.tolerance == pytest.approx(expected)
        assert row.ok
    assert not loss_row("up", direction, _measured([], served=900)).ok
    assert not loss_row("up", direction, _measured([], served=1000)).ok


def test_capacity_is_within_five_percent_or_not_ok() -> None:
    def rows(kbps: float) -> list[bool]:
        received = Received(frames=100, frame_bytes=round(kbps * 125), seconds=1)
        return [row.ok for row in capacity_rows(load_profile("3g-slow"), {"down": received, "up": received})]

    assert rows(500) == rows(480) == rows(520) == [True, True]
    assert rows(470) == rows(530) == [False, False]


def test_a_link_without_capacity_has_no_such_row() -> None:
    assert list(capacity_rows(load_profile("ideal"), {})) == []


def test_the_judgement_names_what_is_wrong_and_by_how_much() -> None:
    claimed = load_profile("4g")
    rows = [
        *delay_rows("up", claimed.up, [_measured([60.0] * 100)]),
        *delay_rows("down", claimed.down, []),
        loss_row("up", claimed.up, None),
    ]
    found = judge(claimed, rows, ["irtt said: no answer"], NO_LINKS)
    assert not found.ok
    assert found.reasons[0] == "profile 4g: delay_ms up is 60; claimed is 30 ± 7.3"
    assert (
        "profile 4g: delay_ms down is not known: nothing came through; claimed is 30 ± 1.4" in found.reasons
    )
    assert any(reason.startswith("profile 4g: loss_percent up is not known") for reason in found.reasons)
    assert found.reasons[-1] == "profile 4g: irtt said: no answer"
    assert Calibration.model_validate_json(found.model_dump_json()) == found


def test_a_link_that_is_all_it_claims_is_ok() -> None:
    rows = delay_rows("up", load_profile("3g").up, [_measured(UNIFORM)])
    found = judge(load_profile("3g"), rows, [], NO_LINKS)
    assert (found.ok, found.reasons) == (True, ())


def test_probes_are_too_far_apart_to_catch_up_with_each_other() -> None:
    assert sparse_interval_ms(load_profile("3g")) > 100
    assert sparse_interval_ms(load_profile("ideal")) == 10


def test_probes_for_loss_leave_most_of_the_capacity_free() -> None:
    # 102 bytes each: a quarter of 500 kbit/s.
    assert dense_interval_ms(load_profile("3g-slow")) == pytest.approx(102 * 8 / 125)
    assert dense_interval_ms(load_profile("wifi")) == dense_interval_ms(load_profile("ideal")) == 2


def test_irtts_answer_is_read() -> None:
    answer = {
        "stats": {"packets_sent": 3, "server_packets_received": 2, "packets_received": 1},
        "round_trips": [
            {"lost": "false", "delay": {"receive": 1_500_000, "rtt": 4_000_000, "send": 2_500_000}},
            {"lost": "true_down", "delay": {}},
            {"lost": "true_up", "delay": {}},
        ],
    }
    assert parse(json.dumps(answer)) == Measured((2.5,), (1.5,), sent=3, served=2, returned=1)


@pytest.mark.parametrize("key", ["send_err", "receive_err"])
def test_a_measurement_that_irtt_broke_off_is_not_read_as_a_silent_link(key: str) -> None:
    # So it ends, with exit code 0, where its first packet is answered twice.
    answer = {
        key: {"Code": -24, "Detail": "unexpected open flag set"},
        "stats": {"packets_sent": 0, "server_packets_received": 0, "packets_received": 0},
        "round_trips": [],
    }
    with pytest.raises(Failed, match=r"irtt broke off: .*unexpected open flag set"):
        parse(json.dumps(answer))


def test_a_rate_needs_more_than_two_frames() -> None:
    assert Received(frames=2, frame_bytes=1000, seconds=1).kbps is None
    assert Received(frames=3, frame_bytes=1000, seconds=1).kbps == 8
