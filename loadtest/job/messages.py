"""What a pod is given (a Secret), what it is told later (an annotation), and what it tells (its log)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from loadtest.definition.scenario import Scenario
from loadtest.result import RunResult, Second


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Assignment(_Message):
    """What every pod of a run does, by its number among them.

    Attributes:
        run_id: of the whole run; a pod's own is `run_id_of(run_id, index)`.
        outputs: of the stack, as JSON with its secrets.
        scenario: the whole one; each pod takes its share.
    """

    run_id: str
    pods: int = Field(ge=1)
    outputs: str = Field(repr=False)
    scenario: Scenario
    profile: str
    seed: int


class Orders(_Message):
    """What a running pod is told.

    Attributes:
        start_at: seconds since 1970, by the pod's own clock.
        stop: end early, and report what there is.
    """

    start_at: float
    stop: bool = False


class Ready(_Message):
    """The pod has read its assignment and waits for its start."""

    kind: Literal["ready"] = "ready"


class Began(_Message):
    """The pod has started; `late_s` seconds after it should have."""

    kind: Literal["began"] = "began"
    late_s: float


class PhaseBegan(_Message):
    """As `loadtest.run.observer.PhaseStarted`, and when it was, by the pod's clock."""

    kind: Literal["phase"] = "phase"
    at: datetime
    name: str
    seconds: float | None


class ClientSeconds(_Message):
    """Seconds of clients that are over."""

    class One(_Message):
        client: str
        group: str
        second: Second

    kind: Literal["seconds"] = "seconds"
    seconds: tuple[One, ...]


class ClientLost(_Message):
    kind: Literal["lost"] = "lost"
    client: str
    group: str
    reason: str


class Acted(_Message):
    kind: Literal["acted"] = "acted"
    at_s: float
    what: str


class Done(_Message):
    """The pod's part of the run; the last message."""

    kind: Literal["done"] = "done"
    result: RunResult


PodMessage: TypeAlias = Ready | Began | PhaseBegan | ClientSeconds | ClientLost | Acted | Done

pod_messages: TypeAdapter[PodMessage] = TypeAdapter(Annotated[PodMessage, Field(discriminator="kind")])


def run_id_of(run_id: str, index: int) -> str:
    """The run id of one pod: rooms are named by it, and two pods share none."""
    return f"{run_id}p{index}"
