"""What lives as long as the application does, and how a request gets at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from token_api.callers import Authenticator
from token_api.delivery.client import DeliveryClient
from token_api.draining import Draining
from token_api.livekit_probe import LiveKitProbe
from token_api.metrics import Metrics
from token_api.rate_limits import Buckets
from token_api.settings import Settings
from token_api.use_cases.services import Services


@dataclass(frozen=True)
class State:
    """Made once by the application factory."""

    services: Services
    probe: LiveKitProbe
    authenticator: Authenticator
    delivery: DeliveryClient
    buckets: Buckets
    draining: Draining = field(default_factory=Draining)

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def metrics(self) -> Metrics:
        return self.services.metrics


def state_of(request: Request) -> State:
    """The state of the application that `request` came to."""
    return cast(State, request.app.state.token_api)


async def _current_state(request: Request) -> State:
    # A coroutine, as every dependency here: FastAPI hands a plain function to a thread, for each request.
    return state_of(request)


CurrentState = Annotated[State, Depends(_current_state)]
