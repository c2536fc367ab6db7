"""The end of `make up`: waits until everything is healthy, or fails and names each unhealthy part and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from common.commands import CommandFailed
from common.waiting import NeverHappened, wait_until
from local.status import CrashLoop, Kubectl, Observation, Part, crash_loops, parts

# The wait fails if nothing becomes healthy for this long. It has no total limit, because a slow machine makes
# slow progress. Must be longer than Kubernetes takes to mark a node as not ready (50 s) and then start a pod
# on it.
_STALLED_SECONDS = 180.0
_LIMIT_SECONDS = 1200.0
# Kubernetes waits up to 300 s before it restarts a crashed container, but starts a new pod at once. A pod is
# replaced if nothing else has changed for this long: then the services that it needs are probably available.
_SETTLED_SECONDS = 5.0
_BETWEEN_REPAIRS_SECONDS = 15.0
_REPAIRS = 3
_SHOWN_LOGS = 4
_LOG_LINES = 5


class NotHealthy(RuntimeError):
    """Not everything is healthy; the message names each unhealthy part with the reason."""


@dataclass
class Repairs:
    """Decides which pods in a crash loop to replace, and when replacing them no longer helps."""

    _others: frozenset[tuple[str, str]] = frozenset()
    _settled_since: float = 0.0
    _count: Counter[str] = field(default_factory=Counter)
    _last: dict[str, float] = field(default_factory=dict)

    def choose(self, loops: Sequence[CrashLoop], unhealthy: Sequence[Part], now: float) -> list[CrashLoop]:
        """The pods to delete now.

        Args:
            unhealthy: all unhealthy parts, including the pods in crash loops.
            now: seconds of a monotonic clock.
        """
        in_loops = {f"{loop.namespace}/{loop.pod}" for loop in loops}
        others = frozenset((part.name, part.detail) for part in unhealthy if _pod(part) not in in_loops)
        if others != self._others:
            # The situation has changed, so a replacement that did not help before may help now.
            self._others, self._settled_since = others, now
            self._count.clear()
        if others and now - self._settled_since < _SETTLED_SECONDS:
            return []
        chosen = [loop for loop in loops if self._may_repair(loop.owner, now)]
        for loop in chosen:
            self._count[loop.owner] += 1
            self._last[loop.owner] = now
        return chosen

    def are_useless(self, loops: Sequence[CrashLoop], now: float) -> bool:
        """Whether nothing else is unhealthy, and each crash loop came back after its last replacement."""
        return (
            bool(loops)
            and not self._others
            and all(
                self._count[loop.owner] >= _REPAIRS
                and now - self._last[loop.owner] >= _BETWEEN_REPAIRS_SECONDS
                for loop in loops
            )
        )

    def _may_repair(self, owner: str, now: float) -> bool:
        last = self._last.get(owner)
        rested = last is None or now == last or now - last >= _BETWEEN_REPAIRS_SECONDS
        return self._count[owner] < _REPAIRS and rested


def wait_until_healthy(
    observe: Callable[[], Observation], kubectl: Kubectl, clock: Callable[[], float] = time.monotonic
) -> None:
    """Return when every part is healthy. Meanwhile, replace pods in a crash loop.

    Args:
        observe: returns the observation that `make status` would judge now.

    Raises:
        NotHealthy: nothing has become healthy for three minutes, or pods crash again after every replacement.
    """
    repairs = Repairs()
    fewest: int | None = None
    since = clock()
    seen = Observation()

    def healthy() -> bool:
        nonlocal fewest, since, seen
        seen = observe()
        unhealthy = [part for part in parts(seen) if not part.healthy]
        if not unhealthy:
            return True
        now = clock()
        if fewest is None or len(unhealthy) < fewest:
            fewest, since = len(unhealthy), now
        loops = crash_loops(seen)
        for loop in repairs.choose(loops, unhealthy, now):
            words = ["-n", loop.namespace, "delete", "pod", loop.pod, "--wait=false", "--ignore-not-found"]
            with suppress(CommandFailed):  # the pod may be gone, or the API server may be down again
                kubectl(*words, timeout=30)
        if now - since >= _STALLED_SECONDS:
            raise NotHealthy(_message(seen, f"for {now - since:.0f} s nothing has become healthy", kubectl))
        if len(loops) == len({_pod(part) for part in unhealthy}) and repairs.are_useless(loops, now):
            raise NotHealthy(_message(seen, f"replacing pods {_REPAIRS} times did not help", kubectl))
        return False

    try:
        wait_until(healthy, timeout=_LIMIT_SECONDS, describe="everything to be healthy", interval=1.0)
    except NeverHappened as error:
        raise NotHealthy(_message(seen, f"waited {_LIMIT_SECONDS:.0f} s", kubectl)) from error


def _pod(part: Part) -> str:
    return part.name.rpartition("/")[0] if part.kind == "container" else part.name


def _message(seen: Observation, why: str, kubectl: Kubectl) -> str:
    unhealthy = [part for part in parts(seen) if not part.healthy]
    lines = [f"not everything is healthy ({why}):"]
    logs = 0
    for part in unhealthy:
        where = f" on {part.node}" if part.node and part.node != part.name else ""
        lines.append(f"  {part.kind} {part.name}{where}: {part.detail}")
        if part.kind == "container" and logs < _SHOWN_LOGS:
            logs += 1
            lines += [f"      {line}" for line in _last_lines(part, kubectl)]
    return "\n".join([*lines, "the README's section `When something is wrong` says how to go on"])


def _last_lines(part: Part, kubectl: Kubectl) -> list[str]:
    """The last log lines of the previous container, or else of the running one."""
    namespace, pod, container = part.name.split("/")
    for flags in (["--previous"], []):
        with suppress(CommandFailed):
            words = ["-n", namespace, "logs", pod, "-c", container, f"--tail={_LOG_LINES}", *flags]
            printed = kubectl(*words, timeout=15).strip()
            if printed:
                return printed.splitlines()
    return []
