"""What an event about a visit costs, however often the participant has come before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import event, insert, select

from tests.unit.token_api.api import Api
from tests.unit.token_api.receiver import eventually
from tests.unit.token_api.test_moderation import admit, come_in, inside
from token_api.database.tables import AuditEntry, Outbox, Participant, StreamSession, Visit
from token_api.use_cases import enforcement, visits
from token_api.use_cases.visits import Sighting


@contextmanager
def counted_loads() -> Iterator[list[Visit]]:
    """The visits that are read from the database in the block."""
    loaded: list[Visit] = []

    def note(visit: Visit, _context: object) -> None:
        loaded.append(visit)

    event.listen(Visit, "load", note)
    try:
        yield loaded
    finally:
        event.remove(Visit, "load", note)


async def test_an_event_reads_no_earlier_visit(api: Api) -> None:
    stream_id = await api.live_stream()
    await admit(api, stream_id, "viewer")
    [session] = await api.rows(select(StreamSession))
    begun = api.clock.now()
    earlier = [
        {
            "session_id": session.id,
            "livekit_sid": f"PA_{number:04}",
            "identity": "u:viewer",
            "joined_at": begun + timedelta(seconds=number),
            "left_at": begun + timedelta(seconds=number + 1),
        }
        for number in range(500)
    ]
    joined = begun + timedelta(seconds=1000)
    later = joined + timedelta(seconds=100)
    with counted_loads() as loaded:
        async with api.services.database.begin() as transaction:
            await transaction.execute(insert(Visit), earlier)
            for left_at in (None, joined + timedelta(seconds=90)):
                seen = Sighting("u:viewer", "PA_new", joined, left_at)
                await visits.see(transaction, session, seen, now=later, actor="livekit")
    assert [visit.livekit_sid for visit in loaded if visit.livekit_sid != "PA_new"] == []
    [row] = await api.rows(select(Participant).where(Participant.identity == "u:viewer"))
    assert (row.livekit_sid, row.joined_at, row.watched_seconds) == ("PA_new", joined, 90)
    assert row.left_at == joined + timedelta(seconds=90)


async def test_who_comes_again_after_a_ban_leaves_no_rows_behind(api: Api) -> None:
    """They have a token from before the ban, and LiveKit lets them in with it: each time they are removed."""
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    made = await api.call("POST", f"/streams/{stream_id}/video-token", api.user("viewer"), 201)
    await api.call("POST", f"/streams/{stream_id}/bans", status=201, json={"user_id": "viewer"})
    # The reconciler may be the one who removes them the first time.
    left = select(Outbox).where(Outbox.event_type == "participant.left")

    async def is_told() -> bool:
        return bool(await api.rows(left))

    await eventually(is_told, "the first removal to be told of")
    tables = (AuditEntry, Outbox, Visit)
    before = [len(await api.rows(select(table))) for table in tables]
    for _ in range(5):
        api.clock.advance(seconds=1)
        come_in(api, room, made["participant_token"])
        [session] = await api.rows(select(StreamSession))
        async with api.services.database.begin() as transaction:
            seen = Sighting("u:viewer", api.livekit.participants[room]["u:viewer"].sid, api.clock.now())
            await visits.see(transaction, session, seen, now=api.clock.now(), actor="livekit")
        await enforcement.on_joined(api.services, room, "u:viewer")
        assert "u:viewer" not in inside(api, room)
    told = await api.rows(select(Outbox.payload).order_by(Outbox.position))
    assert [len(await api.rows(select(table))) for table in tables] == before, "\n".join(told)
