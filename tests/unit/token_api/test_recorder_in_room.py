"""The recorder in a stream's room, on both databases: a participant whom this service overlooks."""

from __future__ import annotations

from typing import Any

from livekit.protocol import models as proto
from sqlalchemy import select

from tests.unit.token_api.api import Api
from tests.unit.token_api.test_inbox import event, send, someone, worked_off
from tests.unit.token_api.test_moderation import admit, inside
from tests.unit.token_api.test_recordings import begin, egress
from token_api.database.tables import AuditEntry, StreamSession, Visit
from token_api.use_cases import healing

_AUDIENCE = (StreamSession.viewers_now, StreamSession.viewers_peak, StreamSession.viewers_unique)


async def recorded(api: Api) -> tuple[str, str, str]:
    """A stream with its creator, a viewer, and a recorder: ids of stream, room, and egress."""
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    await admit(api, stream_id, "viewer")
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    await begin(api, stream_id)
    egress_id = egress(api).egress_id
    api.livekit.join_recorder(egress_id)
    await healing.heal(api.services)
    return stream_id, room, egress_id


async def audience(api: Api) -> list[int]:
    return [(await api.rows(select(column)))[0] for column in _AUDIENCE]


async def test_it_is_neither_counted_nor_listed_nor_put_out(api: Api) -> None:
    stream_id, room, egress_id = await recorded(api)
    for _ in range(2):
        await healing.heal(api.services)
        await healing.sweep(api.services)
    assert inside(api, room) == {"u:creator", "u:viewer", egress_id}
    assert await audience(api) == [1, 1, 1]
    assert sorted(await api.rows(select(Visit.identity))) == ["u:creator", "u:viewer"]
    assert await api.rows(select(AuditEntry).where(AuditEntry.action == "participant.removed")) == []
    info = await api.call("GET", f"/streams/{stream_id}/stream-info", api.service("viewer"))
    assert info["viewer_count"] == 1
    listed = await api.call("GET", f"/streams/{stream_id}/participants")
    assert {item["identity"] for item in listed["items"]} == {"u:creator", "u:viewer"}


async def test_its_events_are_nobodys(api: Api) -> None:
    _, room, egress_id = await recorded(api)
    api.livekit.calls.clear()
    who = {**someone(egress_id, f"PA_{egress_id}", 0), "kind": "EGRESS"}
    track = {"sid": "TR_1", "source": "CAMERA"}
    for told in (
        event("participant_joined", room, 0, participant=who),
        event("track_published", room, 1, participant=who, track=track),
        event("participant_left", room, 2, participant=who),
    ):
        await send(api, told)
    await worked_off(api)
    assert "GetParticipant" not in api.livekit.calls
    assert await audience(api) == [1, 1, 1]


async def test_the_team_cannot_moderate_it(api: Api) -> None:
    stream_id, room, egress_id = await recorded(api)
    path = f"/streams/{stream_id}/participants/{egress_id}"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("DELETE", path, {}),
        ("POST", f"{path}/mute", {}),
        ("PATCH", f"{path}/permissions", {"json": {"role": "guest"}}),
    ]
    for method, where, given in asked:
        await api.call(method, where, api.user("creator"), 404, **given)
    assert egress_id in inside(api, room)


async def test_it_keeps_no_stream_on_air(api: Api) -> None:
    stream_id, room, _ = await recorded(api)
    for identity in ("u:creator", "u:viewer"):
        del api.livekit.participants[room][identity]
    api.clock.advance(seconds=10)
    await healing.heal(api.services)
    api.clock.advance(seconds=api.services.settings.creator_grace_seconds)
    await healing.heal(api.services)
    assert (await api.call("GET", f"/streams/{stream_id}"))["status"] == "ended"
