"""What streams show of their latest recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from token_api.database.tables import AutoRecording, Recording
from token_api.domain.vocabulary import AutoRecordingState, StreamRecordingState

_Row = TypeVar("_Row", Recording, AutoRecording)


@dataclass(frozen=True)
class StreamRecording:
    """The state of a stream's latest recording. `recording_id` is None while it is none yet."""

    state: StreamRecordingState
    recording_id: str | None


async def latest(transaction: AsyncSession, stream_ids: Sequence[str]) -> Mapping[str, StreamRecording]:
    """The latest recording of each stream, or the automatic one that has not begun, if it was armed later.

    Streams without either are left out.
    """
    recordings = await _newest(transaction, Recording, Recording.created_at, stream_ids)
    automatic = await _newest(transaction, AutoRecording, AutoRecording.armed_at, stream_ids)
    pending = {
        stream_id: row for stream_id, row in automatic.items() if row.state is not AutoRecordingState.STARTED
    }
    return {
        stream_id: _shown(recordings.get(stream_id), pending.get(stream_id))
        for stream_id in recordings.keys() | pending.keys()
    }


def _shown(recording: Recording | None, pending: AutoRecording | None) -> StreamRecording:
    """The later one of the two, of which there is at least one."""
    if pending is not None and (recording is None or recording.created_at < pending.armed_at):
        return StreamRecording(StreamRecordingState(pending.state.value), None)
    if recording is None:
        raise ValueError("neither a recording nor one that is to start")
    return StreamRecording(StreamRecordingState(recording.status.value), recording.id)


async def _newest(
    transaction: AsyncSession,
    table: type[_Row],
    moment: InstrumentedAttribute[datetime],
    stream_ids: Sequence[str],
) -> dict[str, _Row]:
    """The newest row of each stream."""
    place = func.row_number().over(partition_by=table.stream_id, order_by=moment.desc())
    key = table.__mapper__.primary_key[0]
    numbered = (
        select(key.label("key"), place.label("place")).where(table.stream_id.in_(stream_ids)).subquery()
    )
    is_newest = (numbered.c.key == key) & (numbered.c.place == 1)
    rows = await transaction.scalars(select(table).join(numbered, is_newest))
    return {row.stream_id: row for row in rows}
