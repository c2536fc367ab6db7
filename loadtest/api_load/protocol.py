"""What the generator is told, as one JSON line on stdin, and what it says, as JSON lines on stdout."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_serializer

from loadtest.definition.scenario import ApiLoad
from loadtest.targets.tokens import TokenEndpoint


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GeneratorConfig(_Message):
    """All that the generator needs.

    Attributes:
        key, secret: that tokens must be signed with.
        room: that tokens are asked for; nobody joins it.
        connections: how many may be open at once; a request that finds none free waits for one.
    """

    endpoint: TokenEndpoint
    load: ApiLoad
    key: str
    secret: SecretStr
    room: str
    connections: int = Field(ge=1)

    @field_serializer("secret", when_used="json")
    def _shown_to_the_generator(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


class Answer(_Message):
    """What became of one request; times are milliseconds.

    Attributes:
        due_s: when it was due, since the load began.
        late_ms: how long after that the generator got round to it; its own fault, never the API's.
        waited_ms: how long it then had to wait for a free connection.
        service_ms: from then to the end of the answer, or to what went wrong.
        error: the kind of what went wrong; empty for the wanted answer.
    """

    due_s: float
    late_ms: float
    waited_ms: float
    service_ms: float
    error: str = ""

    @property
    def latency_ms(self) -> float:
        """From when it was due: what a user of an API under this load sees."""
        return self.late_ms + self.waited_ms + self.service_ms

    @property
    def ended_s(self) -> float:
        """When it was over, since the load began."""
        return self.due_s + self.latency_ms / 1000


class Answers(_Message):
    """What ended in one second.

    Attributes:
        at_s: the end of the second, since the load began.
    """

    kind: Literal["answers"] = "answers"
    at_s: float
    answers: tuple[Answer, ...]


class Finished(_Message):
    """Nothing is under way any more.

    Attributes:
        offered_s: for how long requests were due.
    """

    kind: Literal["finished"] = "finished"
    offered_s: float


Event = Annotated[Answers | Finished, Field(discriminator="kind")]
event_adapter: TypeAdapter[Answers | Finished] = TypeAdapter(Event)
