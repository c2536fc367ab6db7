"""The end of `make up`: what it repairs, when it gives up, and its error message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from common import waiting
from common.commands import CommandFailed
from local.health import NotHealthy, wait_until_healthy
from local.status import Observation


def _pod(
    name: str, *, ready: bool = False, state: dict[str, Any] | None = None, owner: str = "ReplicaSet"
) -> Any:
    """A pod whose container is ready, in a crash loop, or in the given state."""
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting"}}
    status = {
        "name": "main",
        "ready": ready,
        "state": {"running": {}} if ready else state or waits,
        "lastState": {} if ready or state else {"terminated": {"exitCode": 0, "reason": "Completed"}},
    }
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": "livekit",
            "name": name,
            "ownerReferences": [{"kind": owner, "uid": name.partition("-")[0], "controller": True}],
        },
        "spec": {"nodeName": "node1", "containers": [{"name": "main", "image": "a:1"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


@dataclass
class _Platform:
    """A simulated cluster: `behave` computes its state from the time and the deletions so far."""

    behave: Callable[[_Platform], Observation]
    now: float = 0.0
    deleted: list[str] = field(default_factory=list)
    last_deletion: float = 0.0
    logs: str = "first line\nlast line\n"

    def observe(self) -> Observation:
        return self.behave(self)

    def kubectl(self, *words: str, timeout: float) -> str:
        assert timeout > 0
        if "delete" in words:
            assert words[:3] == ("-n", "livekit", "delete")
            self.deleted.append(words[4])
            self.last_deletion = self.now
        elif "--previous" not in words:
            raise CommandFailed(["kubectl"], "exited with 1")
        return self.logs

    def wait(self) -> None:
        wait_until_healthy(self.observe, self.kubectl, lambda: self.now)

    # Replaces the module `time` in `common.waiting`.
    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[_Platform], Observation]], _Platform]:
    def make(behave: Callable[[_Platform], Observation]) -> _Platform:
        made = _Platform(behave)
        monkeypatch.setattr(waiting, "time", made)
        return made

    return make


_Make = Callable[[Callable[[_Platform], Observation]], _Platform]


def test_a_healthy_platform_is_not_waited_for(platform: _Make) -> None:
    made = platform(lambda _: Observation(pods=(_pod("sfu-1", ready=True),)))
    made.wait()
    assert (made.now, made.deleted) == (0.0, [])


def test_what_crashed_is_replaced_once_what_it_needs_is_there(platform: _Make) -> None:
    """Like SFUs after a restart of the machine, which exit if Redis does not answer yet."""

    def behave(now: _Platform) -> Observation:
        starting = {"waiting": {"reason": "ContainerCreating"}}
        init = {"waiting": {"reason": "PodInitializing"}}  # it makes progress
        state = init if now.now % 8 < 4 else starting
        redis = _pod("redis-0", owner="StatefulSet", state=state, ready=now.now >= 20)
        return Observation(pods=(redis, _pod("sfu-1", ready=now.last_deletion >= 20)))

    made = platform(behave)
    made.wait()
    # It was not replaced while Redis started (it would have crashed again), and did not wait for Kubernetes'
    # back-off of minutes.
    assert made.deleted == ["sfu-1"]
    assert 5 <= made.now <= 30


def test_what_waits_for_the_crashed_one_does_not_prevent_its_repair(platform: _Make) -> None:
    def behave(now: _Platform) -> Observation:
        fixed = "sfu-1" in now.deleted
        api = _pod("api-1", ready=fixed, state={"running": {}})  # its readiness needs the SFU
        return Observation(pods=(api, _pod("sfu-1", ready=fixed)))

    made = platform(behave)
    made.wait()
    assert made.deleted == ["sfu-1"]
    assert made.now <= 10


def test_what_crashes_again_and_again_ends_the_wait_with_its_reason_and_its_last_lines(
    platform: _Make,
) -> None:
    made = platform(lambda now: Observation(pods=(_pod(f"sfu-{len(now.deleted)}"),)))
    with pytest.raises(NotHealthy) as failed:
        made.wait()
    assert made.deleted == ["sfu-0", "sfu-1", "sfu-2"]
    assert made.now <= 60
    assert str(failed.value).splitlines() == [
        "not everything is healthy (replacing pods 3 times did not help):",
        "  container livekit/sfu-3/main on node1: CrashLoopBackOff: back-off 5m0s restarting; "
        "it ended last with exit code 0 (Completed)",
        "      first line",
        "      last line",
        "the README's section `When something is wrong` says how to go on",
    ]


def test_a_pod_that_nothing_would_replace_is_never_deleted(platform: _Make) -> None:
    made = platform(lambda _: Observation(pods=(_pod("static-node1", owner="Node"),)))
    with pytest.raises(NotHealthy, match="for 180 s nothing has become healthy"):
        made.wait()
    assert made.deleted == []


def test_slow_progress_is_progress(platform: _Make) -> None:
    """One more of ten parts becomes ready every 150 s: a slow machine is not a failure."""

    def behave(now: _Platform) -> Observation:
        ready = int(now.now // 150) + 1
        starting = {"waiting": {"reason": "ContainerCreating"}}
        return Observation(pods=tuple(_pod(f"pod{n}-0", ready=n < ready, state=starting) for n in range(8)))

    made = platform(behave)
    made.wait()
    assert made.now > 900


def test_parts_that_come_and_go_do_not_keep_the_wait_alive_for_ever(platform: _Make) -> None:
    def behave(now: _Platform) -> Observation:
        starting = {"waiting": {"reason": "ContainerCreating"}}
        return Observation(
            pods=(
                _pod("a-0", ready=int(now.now) % 20 < 10, state=starting),
                _pod("b-0", state={"running": {}}),
            )
        )

    made = platform(behave)
    with pytest.raises(NotHealthy, match="livekit/b-0/main"):
        made.wait()
    assert made.now < 250


def test_an_api_server_that_is_away_meanwhile_is_waited_for(platform: _Make) -> None:
    made = platform(lambda now: Observation(pods=(_pod("sfu-1", ready=now.now > 30),)))

    def refuses(*_: str, timeout: float) -> str:
        assert timeout > 0
        raise CommandFailed(["kubectl"], "exited with 1", "", "connection refused")

    wait_until_healthy(made.observe, refuses, lambda: made.now)


def test_a_new_situation_is_worth_new_repairs(platform: _Make) -> None:
    """The service that the crashed pod needs takes longer than three replacements."""

    def behave(now: _Platform) -> Observation:
        starting = {"waiting": {"reason": "ContainerCreating"}}
        redis = _pod("redis-0", owner="StatefulSet", state=starting, ready=now.now >= 120)
        return Observation(pods=(redis, _pod("sfu-1", ready=now.last_deletion >= 120)))

    made = platform(behave)
    made.wait()
    assert len(made.deleted) == 4
    assert made.now <= 130
