"""Who may be in a room is enforced while they are: a real LiveKit, real participants."""

from __future__ import annotations

from tests.token_api.clients import client
from tests.token_api.conftest import Platform


async def test_join(platform: Platform) -> None:
    stream = platform.service.live_stream()
    async with client(platform.livekit.url, platform.service.token("creator", stream["id"])) as creator:
        await creator.publish_microphone()
