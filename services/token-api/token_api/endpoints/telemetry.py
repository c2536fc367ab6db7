"""Where clients tell of the quality that they see."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from token_api.endpoints.common import Body, problems
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.endpoints.video import REFUSALS
from token_api.problems import Kind
from token_api.state import CurrentState
from token_api.use_cases import telemetry

MAX_SAMPLES = 20
MAX_FAILURES = 5

router = APIRouter(prefix="/v1/streams", tags=["analytics"], route_class=CallerRoute, dependencies=FOR_ALL)


class FailureReason(StrEnum):
    """Why a client with a token did not get in, or was thrown out by its network."""

    SIGNAL = "signal"
    ICE = "ice"
    TIMEOUT = "timeout"
    DEVICE = "device"
    OTHER = "other"


class SampleBody(Body):
    """What a client measured since its last sample; at least one figure."""

    age_seconds: Annotated[float, Field(ge=0, le=300, allow_inf_nan=False)] = Field(
        0.0, description="how long ago; not used any more", deprecated=True
    )
    rtt_ms: Annotated[int, Field(ge=0, le=60_000)] | None = None
    packet_loss: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="lost packets among those sent, 0 to 1"
    )
    freezes: Annotated[int, Field(ge=0, le=10_000)] | None = None
    freeze_ms: Annotated[int, Field(ge=0, le=300_000)] | None = Field(None, description="time frozen in all")
    bitrate_kbps: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    frames_per_second: Annotated[int, Field(ge=0, le=480)] | None = None
    frame_height: Annotated[int, Field(ge=0, le=16_384)] | None = None

    @model_validator(mode="after")
    def _tells_something(self) -> SampleBody:
        if all(value is None for name, value in self if name != "age_seconds"):
            raise ValueError("it has no figure")
        return self

    def sample(self) -> telemetry.Sample:
        return telemetry.Sample(
            rtt_ms=self.rtt_ms,
            loss_permille=None if self.packet_loss is None else round(self.packet_loss * 1000),
            freezes=self.freezes,
            freeze_ms=self.freeze_ms,
            bitrate_kbps=self.bitrate_kbps,
            frames_per_second=self.frames_per_second,
            frame_height=self.frame_height,
        )


class TelemetryRequest(Body):
    """What a client has to tell since the last time."""

    samples: list[SampleBody] = Field(default_factory=list, max_length=MAX_SAMPLES)
    join_failures: list[Annotated[FailureReason, Field(strict=False)]] = Field(
        default_factory=list, max_length=MAX_FAILURES, description="each time that it did not get in"
    )

    @model_validator(mode="after")
    def _tells_something(self) -> TelemetryRequest:
        if not self.samples and not self.join_failures:
            raise ValueError("it has neither samples nor join_failures")
        return self


@router.post(
    "/{stream_id}/telemetry",
    status_code=204,
    response_class=Response,
    responses=problems(*REFUSALS, Kind.RATE_LIMITED, Kind.MEDIA_TYPE),
)
async def create_telemetry(
    stream_id: str, wanted: TelemetryRequest, state: CurrentState, caller: CurrentCaller
) -> Response:
    """Tell of the quality seen, every ten seconds or so: at most once in five seconds for each user.

    A page that goes away sends its last samples by `fetch` with `keepalive: true`. Not by `sendBeacon`:
    that sends no Authorization, and a token in the URL or a body of text/plain is not taken.
    """
    services = state.services
    failures = [f"client-{reason.value}" for reason in wanted.join_failures]
    async with services.database.begin() as transaction:
        await telemetry.take(
            transaction,
            caller,
            stream_id,
            samples=[sample.sample() for sample in wanted.samples],
            failures=failures,
            now=services.clock.now(),
        )
    for reason in failures:
        services.metrics.join_failures.labels(reason).inc()
    services.metrics.quality_samples.inc(len(wanted.samples))
    return Response(status_code=204)
