"""An event about a visit costs the same, however often the participant has come before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import event, insert, select

from tests.unit.token_api.api import Api
from tests.unit.token_api.test_moderation import admit
from token_api.database.tables import Participant, StreamSession, Visit
from token_api.use_cases import visits
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
    with counted_loads() as loaded:
        async with api.services.database.begin() as transaction:
            await transaction.execute(insert(Visit), earlier)
            for left_at in (None, joined + timedelta(seconds=90)):
                seen = Sighting("u:viewer", "PA_new", joined, left_at)
                await visits.see(transaction, session, seen, now=begun, actor="livekit")
    assert [visit.livekit_sid for visit in loaded if visit.livekit_sid != "PA_new"] == []
    [row] = await api.rows(select(Participant).where(Participant.identity == "u:viewer"))
    assert (row.livekit_sid, row.joined_at, row.watched_seconds) == ("PA_new", joined, 90)
    assert row.left_at == joined + timedelta(seconds=90)
