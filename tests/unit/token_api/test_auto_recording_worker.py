"""The worker that starts recordings by itself, on both databases: the webhook of a track wakes it."""

from __future__ import annotations

import pytest

from tests.unit.token_api.api import Api
from tests.unit.token_api.receiver import eventually
from tests.unit.token_api.test_inbox import event, send, someone
from tests.unit.token_api.test_moderation import admit
from token_api.workers import loop


@pytest.fixture(autouse=True)
def by_bells_alone(environment: pytest.MonkeyPatch) -> None:
    """No worker looks by the clock, as long as the test runs."""
    environment.setattr(loop, "IDLE_SECONDS", 600.0)
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")


async def test_a_webhook_starts_a_recording_at_once(api: Api) -> None:
    stream_id = await api.live_stream(record=True)
    room = await admit(api, stream_id, "creator", grant=False)
    who, track = someone("u:creator", "PA_1", 0), {"sid": "TR_1", "source": "CAMERA"}
    await send(api, event("track_published", room, 1, participant=who, track=track))
    await eventually(lambda: bool(api.livekit.egresses), "the recording to start")
