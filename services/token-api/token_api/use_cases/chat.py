"""The chat of a stream: written, read, moderated. The database has it; the room is told by `chat_relay`.

The chat's `revision` grows with each message, deletion and change of settings, under the stream's lock.
So the order of revisions is the order of commits, and whoever asks for what is `after` one misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller, UserCaller
from token_api.database.columns import new_id
from token_api.database.tables import ChatMessage, Stream
from token_api.domain.access import Admitted
from token_api.domain.chat_text import BadText, clean, shown_name
from token_api.domain.lifecycle import ON_AIR
from token_api.domain.paging import Cursor
from token_api.domain.roles import STEERING
from token_api.domain.vocabulary import SessionState
from token_api.problems import Kind, ProblemError
from token_api.settings import Settings
from token_api.use_cases import chat_relay
from token_api.use_cases.events import record
from token_api.use_cases.standing import (
    Standing,
    is_id,
    not_found,
    require_admitted,
    require_steering,
    standing_of,
)

MAX_SLOW_MODE_SECONDS = 600
# For how long people may take back what they wrote themselves.
OWN_DELETE_SECONDS = 300


@dataclass(frozen=True)
class ChatSettings:
    """How a stream's chat is."""

    enabled: bool
    slow_mode_seconds: int
    max_length: int


@dataclass(frozen=True)
class ChatPage:
    """Some messages. `revision`: ask for what is `after` it to go on from here. `more`: at once."""

    items: Sequence[ChatMessage]
    next_cursor: str | None
    revision: int
    more: bool
    settings: ChatSettings


def settings_of(stream: Stream) -> ChatSettings:
    """The settings of a stream's chat."""
    return ChatSettings(stream.chat_enabled, stream.chat_slow_mode_seconds, stream.chat_max_length)


def require_builtin(settings: Settings) -> None:
    """Raises ProblemError (CHAT_CLOSED) where the chat is elsewhere."""
    if settings.chat_provider != "builtin":
        raise ProblemError(
            Kind.CHAT_CLOSED, f"The chat is at {settings.chat_provider}: ask for a chat token."
        )


async def post(
    transaction: AsyncSession, caller: Caller, stream_id: str, text: str, *, name: str, now: datetime
) -> ChatMessage:
    """Write a message. `name` is shown where the host application writes for a user.

    Raises:
        ProblemError: NOT_FOUND, or why the user does not get in; CHAT_CLOSED, STREAM_NOT_LIVE, SLOW_MODE;
            VALIDATION for the text.
    """
    standing = await standing_of(transaction, caller, stream_id, now, lock=True)
    admitted, stream = require_admitted(standing), standing.stream
    if not stream.chat_enabled:
        raise ProblemError(Kind.CHAT_CLOSED, "The chat is switched off.")
    if stream.status not in ON_AIR:
        raise ProblemError(Kind.STREAM_NOT_LIVE, "The chat is open while the stream is on air.")
    if standing.session is not None and standing.session.state is SessionState.CLOSING:
        raise ProblemError(Kind.STREAM_NOT_LIVE, "The stream is ending.")
    user_id = standing.user_id or ""
    if admitted.role not in STEERING:
        await _require_slowly(transaction, stream, user_id, now)
    try:
        kept = clean(text, stream.chat_max_length)
        shown = shown_name(caller.name if isinstance(caller, UserCaller) else name)
    except BadText as error:
        raise ProblemError(Kind.VALIDATION, f"text: {error}.") from error
    stream.chat_revision += 1
    message = ChatMessage(
        id=new_id(),
        stream_id=stream.id,
        session_id=standing.session.id if standing.session is not None else None,
        user_id=user_id,
        name=shown,
        role=admitted.role,
        text=kept,
        sequence=stream.chat_revision,
        revision=stream.chat_revision,
        sent_at=now,
    )
    transaction.add(message)
    _tell(transaction, standing, {"type": "message", "message": told(message)}, now)
    return message


async def _require_slowly(transaction: AsyncSession, stream: Stream, user_id: str, now: datetime) -> None:
    """Raises ProblemError (SLOW_MODE). The stream is locked: two at once are one after the other."""
    if stream.chat_slow_mode_seconds == 0:
        return
    # Also of deleted ones: who is deleted does not get another turn for it.
    last = await transaction.scalar(
        select(func.max(ChatMessage.sent_at)).where(
            ChatMessage.stream_id == stream.id, ChatMessage.user_id == user_id
        )
    )
    if last is None:
        return
    wait = (last + timedelta(seconds=stream.chat_slow_mode_seconds) - now).total_seconds()
    if wait > 0:
        raise ProblemError(
            Kind.SLOW_MODE,
            f"One message in {stream.chat_slow_mode_seconds} seconds.",
            {"Retry-After": str(int(wait) + 1)},
        )


def _require_reader(standing: Standing) -> None:
    if not standing.is_host:
        require_admitted(standing)


async def history(
    transaction: AsyncSession,
    caller: Caller,
    stream_id: str,
    *,
    cursor: Cursor | None,
    limit: int,
    now: datetime,
) -> ChatPage:
    """Messages, newest first, without deleted ones; further back from `cursor`.

    Raises:
        ProblemError: NOT_FOUND, or why the user does not get in; VALIDATION for a cursor of another list.
    """
    standing = await standing_of(transaction, caller, stream_id, now)
    _require_reader(standing)
    wanted = (
        select(ChatMessage)
        .where(ChatMessage.stream_id == stream_id, ChatMessage.deleted_at.is_(None))
        .order_by(ChatMessage.sequence.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        if not cursor.id.isdecimal() or len(cursor.id) > 18:
            raise ProblemError(Kind.VALIDATION, "cursor: it is none of a chat.")
        wanted = wanted.where(ChatMessage.sequence < int(cursor.id))
    found = list(await transaction.scalars(wanted))
    items, more = found[:limit], len(found) > limit
    place = str(Cursor(items[-1].sent_at, str(items[-1].sequence))) if more else None
    return ChatPage(items, place, standing.stream.chat_revision, more, settings_of(standing.stream))


async def changes(
    transaction: AsyncSession, caller: Caller, stream_id: str, *, after: int, limit: int, now: datetime
) -> ChatPage:
    """What has changed since revision `after`, oldest change first: new messages, and deleted ones.

    Raises:
        ProblemError: NOT_FOUND, or why the user does not get in.
    """
    standing = await standing_of(transaction, caller, stream_id, now)
    _require_reader(standing)
    found = list(
        await transaction.scalars(
            select(ChatMessage)
            .where(ChatMessage.stream_id == stream_id, ChatMessage.revision > after)
            .order_by(ChatMessage.revision)
            .limit(limit + 1)
        )
    )
    items, more = found[:limit], len(found) > limit
    # The stream was read before the messages: what came in between is found again, and nothing is left out.
    revision = items[-1].revision if more else max(standing.stream.chat_revision, after)
    return ChatPage(items, None, revision, more, settings_of(standing.stream))


async def delete(
    transaction: AsyncSession, caller: Caller, stream_id: str, message_id: str, now: datetime
) -> None:
    """Take a message out of the chat. One that is deleted already stays so.

    Raises:
        ProblemError: NOT_FOUND; ROLE_FORBIDDEN for somebody else's, or one's own that is too old.
    """
    standing = await standing_of(transaction, caller, stream_id, now, lock=True)
    _require_reader(standing)
    message = await transaction.get(ChatMessage, message_id) if is_id(message_id) else None
    if message is None or message.stream_id != stream_id:
        raise not_found()
    _require_may_delete(standing, message, now)
    if message.deleted_at is not None:
        return
    stream = standing.stream
    stream.chat_revision += 1
    message.revision = stream.chat_revision
    message.deleted_at, message.deleted_by = now, standing.user_id
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action="chat.message-deleted",
        stream_id=stream_id,
        details={"message_id": message.id, "user_id": message.user_id},
        event_type="chat.message-deleted",
    )
    _tell(transaction, standing, {"type": "deleted", "message": told(message)}, now)


def _require_may_delete(standing: Standing, message: ChatMessage, now: datetime) -> None:
    steers = isinstance(standing.decision, Admitted) and standing.decision.role in STEERING
    if steers or standing.is_host:
        return
    if message.user_id != standing.user_id:
        raise ProblemError(
            Kind.ROLE_FORBIDDEN, "Others' messages are deleted by the stream's owner and team."
        )
    if now - message.sent_at > timedelta(seconds=OWN_DELETE_SECONDS):
        raise ProblemError(
            Kind.ROLE_FORBIDDEN, f"Own messages can be deleted for {OWN_DELETE_SECONDS} seconds."
        )


async def change_settings(
    transaction: AsyncSession, caller: Caller, stream_id: str, wanted: dict[str, Any], now: datetime
) -> ChatSettings:
    """Change some of the settings: enabled, slow_mode_seconds, max_length.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN.
    """
    standing = await standing_of(transaction, caller, stream_id, now, lock=True)
    require_steering(standing)
    stream = standing.stream
    changed = []
    for field, value in wanted.items():
        column = f"chat_{field}"
        if getattr(stream, column) != value:
            setattr(stream, column, value)
            changed.append(column)
    if changed:
        stream.chat_revision += 1
        stream.version += 1
        stream.updated_at = now
        record(
            transaction,
            now=now,
            actor=caller.actor,
            action="chat.settings-changed",
            stream_id=stream_id,
            details={"fields": changed, "version": stream.version},
            event_type="stream.updated",
        )
        _tell(transaction, standing, {"type": "settings", "settings": vars(settings_of(stream))}, now)
    return settings_of(stream)


def told(message: ChatMessage) -> dict[str, Any]:
    """A message as callers and the room are told of it; of a deleted one the text is not."""
    return {
        "id": message.id,
        "sequence": message.sequence,
        "revision": message.revision,
        "user_id": message.user_id,
        "name": message.name,
        "role": message.role.value,
        "text": message.text if message.deleted_at is None else None,
        "sent_at": message.sent_at.isoformat().replace("+00:00", "Z"),
        "deleted": message.deleted_at is not None,
    }


def _tell(transaction: AsyncSession, standing: Standing, payload: dict[str, Any], now: datetime) -> None:
    if standing.session is not None:
        chat_relay.tell(
            transaction,
            standing.session.id,
            {**payload, "revision": standing.stream.chat_revision},
            now,
        )
