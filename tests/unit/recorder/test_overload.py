"""Which recording is ended before memory or disk are used up."""

from __future__ import annotations

from collections.abc import Mapping

from recorder.admission import END_SPOOL_BYTES, GIBIBYTE, LEAST_SPOOL_BYTES, Load, Share, refusal
from recorder.admission import Cost as AdmissionCost
from recorder.errors import Code
from recorder.overload import Ended, Figures, Overload
from recorder.settings import CpuCost

ROOMY = 100 * GIBIBYTE
LIMITED = CpuCost(max_memory=2)
MEMORY = {"a": 300, "b": 500, "c": 400}
SPOOL = {"a": 70, "b": 10, "c": 80}


def looked(
    overload: Overload,
    now: float,
    *,
    used: float = 0,
    free: int = ROOMY,
    memory: Mapping[str, int] = MEMORY,
) -> Ended | None:
    """What is ended at `now`; `used` memory in GiB."""
    return overload.next(now, Figures(int(used * GIBIBYTE), free, memory), SPOOL.__getitem__)


def test_nothing_is_ended_while_there_is_enough() -> None:
    overload = Overload(LIMITED)
    assert looked(overload, 0, used=2.0, free=3 * END_SPOOL_BYTES) is None
    assert looked(Overload(CpuCost()), 0, used=1000) is None
    assert looked(overload, 0, used=3.0, memory={}) is None


def test_too_much_memory_ends_the_recording_that_has_most() -> None:
    ended = looked(Overload(LIMITED), 0, used=2.5)
    assert ended is not None
    # livekit/egress' own text, code and result.
    assert (ended.egress_id, str(ended.error), ended.result) == ("b", "OOM: 2.50 GB used", "killed_oom")
    assert ended.error.code is Code.PERMISSION_DENIED


def test_memory_may_be_high_for_the_configured_time() -> None:
    overload = Overload(CpuCost(max_memory=2, memory_kill_grace_sec=10))
    assert looked(overload, 0, used=2.5) is None
    assert looked(overload, 9, used=2.5) is None
    assert looked(overload, 9.5, used=1.5) is None
    assert looked(overload, 10, used=2.5) is None
    assert looked(overload, 20, used=2.5) is not None


def test_little_space_ends_the_largest_recording_as_a_full_disk_does() -> None:
    ended = looked(Overload(CpuCost()), 0, free=3 * END_SPOOL_BYTES - 1)
    assert ended is not None
    text = "recording ended early: [Errno 28] No space left on device"
    assert (ended.egress_id, str(ended.error), ended.result) == ("c", text, "")
    assert ended.error.code is Code.INTERNAL


def test_one_is_ended_at_a_time() -> None:
    overload = Overload(CpuCost())
    first = looked(overload, 0, free=0)
    assert first is not None
    # It uploads, and frees its space when it is gone.
    assert looked(overload, 2, free=0) is None
    without = {name: MEMORY[name] for name in ("a", "b")}
    assert looked(overload, 4, free=2 * END_SPOOL_BYTES, memory=without) is None
    second = looked(overload, 6, free=0, memory=without)
    assert second is not None
    assert second.egress_id == "a"


def test_one_that_does_not_go_keeps_the_others_waiting_for_some_time_only() -> None:
    overload = Overload(LIMITED)
    ended = [looked(overload, now, used=3, free=0) for now in (0, 14, 15, 29, 30, 60)]
    assert [each and each.egress_id for each in ended] == ["b", None, "c", None, "a", None]


def test_a_worker_that_accepts_a_recording_does_not_end_one() -> None:
    for running in range(5):
        shares = [Share(0.0)] * running
        free = LEAST_SPOOL_BYTES + END_SPOOL_BYTES * running
        costs = CpuCost()
        assert refusal(AdmissionCost(0, 0), Load(1, shares, 0, free), costs) is None
        then = {str(number): 1 for number in range(running + 1)}
        assert looked(Overload(costs), 0, free=free, memory=then) is None
