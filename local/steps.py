"""The steps of a command as a graph: which step comes next, and how long all steps take. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

# One compilation and two other steps. More steps would only compete for the same cores and the same disk.
WORKERS = 3


class Resource(Enum):
    """What a step mainly uses."""

    COMPILER = "compiler"  # the Go compiler takes all cores and gigabytes: one step at a time
    OTHER = "other"  # network, disk, or waiting for others


# For a step that was never timed, in seconds.
_UNKNOWN = {Resource.COMPILER: 60.0, Resource.OTHER: 3.0}


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        name: unique; shown to the user.
        action: raises if it fails.
        needs: names of steps that must end before this one starts.
        timed_as: the key under which its duration is recorded: the name without parts that vary between runs.
        shows_output: whether its command writes to the terminal itself.
    """

    name: str
    action: Callable[[], object]
    needs: tuple[str, ...] = ()
    resource: Resource = Resource.OTHER
    timed_as: str = ""
    shows_output: bool = False

    @property
    def key(self) -> str:
        return self.timed_as or self.name


class Plan:
    """Steps, each after those that it needs, with the time that each should take."""

    def __init__(self, steps: Iterable[Step], durations: Mapping[str, float] | None = None) -> None:
        """
        Args:
            durations: seconds that steps took in earlier runs, by a step's key.

        Raises:
            ValueError: a name is not unique, or a step needs one that does not come before it.
        """
        self.steps = tuple(steps)
        known: set[str] = set()
        for step in self.steps:
            if step.name in known:
                raise ValueError(f"two steps are named {step.name!r}")
            if missing := sorted(set(step.needs) - known):
                raise ValueError(f"step {step.name!r} needs {missing}, and no step before it has such a name")
            known.add(step.name)
        given = durations or {}
        self._expected = {step.name: given.get(step.key, _UNKNOWN[step.resource]) for step in self.steps}
        self._known = {step.name for step in self.steps if step.key in given}
        self._length = self._path_lengths()

    def expected(self, step: Step) -> float | None:
        """Seconds that the step took before; None if unknown."""
        return self._expected[step.name] if step.name in self._known else None

    def next(self, done: Collection[str], running: Collection[str]) -> Step | None:
        """The step to start now; None if all steps have started, or if the others wait for running steps.

        If several steps could start, returns the step with the longest chain of dependent steps.
        """
        if len(running) >= WORKERS:
            return None
        compiling = any(step.resource is Resource.COMPILER for step in self.steps if step.name in running)
        ready = [
            step
            for step in self.steps
            if step.name not in done
            and step.name not in running
            and all(need in done for need in step.needs)
            and not (compiling and step.resource is Resource.COMPILER)
        ]
        return max(ready, key=lambda step: self._length[step.name], default=None)

    def remaining_seconds(
        self, done: Collection[str] = (), running: Mapping[str, float] | None = None
    ) -> float:
        """Seconds to the end if each step takes as long as expected, by simulating the rest of the run.

        Args:
            running: seconds that each running step has taken so far.
        """
        finished = set(done)
        left = {name: max(0.0, self._expected[name] - taken) for name, taken in (running or {}).items()}
        now = 0.0
        while True:
            while (step := self.next(finished, left)) is not None:
                left[step.name] = self._expected[step.name]
            if not left:
                return now
            name = min(left, key=lambda each: left[each])
            passed = left.pop(name)
            now += passed
            left = {other: rest - passed for other, rest in left.items()}
            finished.add(name)

    def _path_lengths(self) -> dict[str, float]:
        """For each step, the seconds from its start to the end of the longest chain of dependent steps."""
        after = {step.name: 0.0 for step in self.steps}
        length: dict[str, float] = {}
        for step in reversed(self.steps):
            length[step.name] = self._expected[step.name] + after[step.name]
            for need in step.needs:
                after[need] = max(after[need], length[step.name])
        return length
