"""What tests of whole load runs share: the stack as a target, a small scenario, an observer that notes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loadtest.definition.scenario import Scenario
from loadtest.definition.scenario_file import load_scenario
from loadtest.net.bridge import ClientName
from loadtest.run.observer import PhaseStarted, RunEvent
from loadtest.targets.target import Target, target_of_stack
from tests.running import RunningStack

# Without emulated links no calibration, and a picture that two busy cores can encode.
SMALL = (
    "creator.profile=ideal",
    "creator.publish.camera={width: 320, height: 180, fps: 15}",
    "viewers.count=1",
    "viewers.arrival={after_s: 0}",
    "duration_s=5",
    "settle_s=1",
)


@dataclass
class Notes:
    """An observer that keeps every event, and lets a test wait for a phase of the run.

    Attributes:
        in_phase: set when the phase of this name has begun.
    """

    phase: str = ""
    events: list[RunEvent] = field(default_factory=list)
    in_phase: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: RunEvent) -> None:
        self.events.append(event)
        if isinstance(event, PhaseStarted) and event.name == self.phase:
            self.in_phase.set()

    @property
    def phases(self) -> list[str]:
        return [event.name for event in self.events if isinstance(event, PhaseStarted)]


@pytest.fixture
def stack_target(stack: RunningStack) -> Iterator[Target]:
    """The running stack, as a run is directed at it."""
    with target_of_stack(stack.outputs) as target:
        yield target


@pytest.fixture
def small_livestream() -> Scenario:
    """One client sends small pictures and another one watches, for 5 s."""
    return load_scenario("livestream", SMALL)


def namespaces_of(pid: int) -> list[str]:
    """The client namespaces that a process has."""
    names = [ClientName.parse(path.name) for path in Path("/run/netns").iterdir()]
    return [str(name) for name in names if name is not None and name.owner.pid == pid]


def own_namespaces() -> list[str]:
    return namespaces_of(os.getpid())
