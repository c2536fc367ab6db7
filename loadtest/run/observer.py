"""What a run tells while it goes on. The live display and the plain log are observers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from loadtest.definition.scenario import Scenario
from loadtest.net.calibration import Calibration
from loadtest.result import ApiSecond, GeneratorSample, Second, SfuSample


@dataclass(frozen=True)
class RunStarted:
    """The scenario as it will be run, with what the command line changed in it."""

    scenario: Scenario
    profile: str
    target: str


@dataclass(frozen=True)
class PhaseStarted:
    """A part of the run began.

    Attributes:
        name: such as `calibrating 4g`, `joining`, `settling`, `measuring`, `collecting`.
        seconds: how long it will take; None where nobody knows.
    """

    name: str
    seconds: float | None = None


@dataclass(frozen=True)
class Calibrated:
    """A profile was measured before its use."""

    calibration: Calibration


@dataclass(frozen=True)
class ClientSecond:
    """A second of one client is over."""

    client: str
    group: str
    second: Second


@dataclass(frozen=True)
class ApiSecondOver:
    """A second of the load on the API is over."""

    second: ApiSecond


@dataclass(frozen=True)
class ClientEnded:
    """A client failed, or died, before it was told to end; with the reason."""

    client: str
    group: str
    reason: str


@dataclass(frozen=True)
class ActionTaken:
    """An action of the scenario, or a step of a profile or ramp, was done; in words."""

    at_s: float
    what: str


@dataclass(frozen=True)
class Sampled:
    """A sample of this machine, with the samples of SFU nodes since the previous one."""

    sfu: tuple[SfuSample, ...]
    generator: GeneratorSample


RunEvent: TypeAlias = (
    RunStarted
    | PhaseStarted
    | Calibrated
    | ClientSecond
    | ApiSecondOver
    | ClientEnded
    | ActionTaken
    | Sampled
)


class Observer(Protocol):
    """Takes each event as it happens, from one thread at a time; it must not raise and not block."""

    def __call__(self, event: RunEvent) -> None: ...
