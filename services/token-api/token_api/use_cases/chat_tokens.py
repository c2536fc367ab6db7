"""Chat tokens: of whichever chat is configured, for those who get into the stream, while they do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller, UserCaller
from token_api.chat import builtin, getstream
from token_api.domain.chat_text import shown_name
from token_api.domain.roles import StreamRole
from token_api.problems import Kind, ProblemError
from token_api.settings import Settings
from token_api.tokens import MAX_TTL_SECONDS
from token_api.use_cases.standing import require_admitted, standing_of
from token_api.use_cases.tokens import seconds_to_live


@dataclass(frozen=True)
class ChatToken:
    """What a client needs to chat. `api_key` is GetStream's."""

    provider: str
    token: str
    user_id: str
    role: StreamRole
    expires_at: datetime
    api_key: str | None = None
    channel: str | None = None


async def chat_token(
    transaction: AsyncSession, settings: Settings, caller: Caller, stream_id: str, *, name: str, now: datetime
) -> ChatToken:
    """A token for the caller's user. `name` is shown where the host application asks for a user.

    Raises:
        ProblemError: NOT_FOUND, or why the user does not get in; CONFLICT for a user whom GetStream
            cannot have.
    """
    standing = await standing_of(transaction, caller, stream_id, now)
    admitted = require_admitted(standing)
    user_id = standing.user_id or ""
    expires_at = now + timedelta(seconds=seconds_to_live(admitted, MAX_TTL_SECONDS, now))
    if settings.chat_provider == "getstream":
        if not getstream.takes(user_id):
            raise ProblemError(
                Kind.CONFLICT,
                "GetStream takes user ids of letters, digits, @, _ and - only; this has others.",
            )
        secret = settings.getstream_secret
        if secret is None:
            raise ValueError("getstream without its secret: load_settings refuses that")
        token = getstream.user_token(secret.get_secret_value(), user_id, now=now, expires_at=expires_at)
        return ChatToken(
            "getstream",
            token,
            user_id,
            admitted.role,
            expires_at,
            api_key=settings.getstream_key,
            channel=getstream.channel_of(stream_id),
        )
    shown = shown_name(caller.name if isinstance(caller, UserCaller) else name)
    token = builtin.user_token(
        builtin.key_from(settings.service_key.get_secret_value()),
        builtin.ChatIdentity(stream_id, user_id, shown, admitted.role),
        now=now,
        expires_at=expires_at,
    )
    return ChatToken("builtin", token, user_id, admitted.role, expires_at)
