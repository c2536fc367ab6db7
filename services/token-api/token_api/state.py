"""What lives as long as the application does, and how a request gets at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from token_api.livekit_probe import LiveKitProbe
from token_api.metrics import Metrics
from token_api.settings import Settings


@dataclass(frozen=True)
class State:
    """Made once by the application factory."""

    settings: Settings
    probe: LiveKitProbe
    metrics: Metrics


def state_of(request: Request) -> State:
    """The state of the application that `request` came to."""
    return cast(State, request.app.state.token_api)


CurrentState = Annotated[State, Depends(state_of)]
