"""A stream's chat over HTTP. Whoever is in the room also gets it as LiveKit data, topic `chat`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, BaseModel, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller, UserCaller
from token_api.chat.builtin import NoChatToken, key_from, read_token
from token_api.chat.getstream import CHANNEL_TYPE
from token_api.database.tables import ChatMessage
from token_api.domain.chat_text import MAX_BYTES, MAX_LENGTH, clean
from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.domain.roles import StreamRole
from token_api.endpoints.common import (
    STREAM_PROBLEMS,
    Body,
    DisplayName,
    Key,
    Limit,
    answer,
    cursor_of,
    once,
    problems,
)
from token_api.endpoints.guard import FOR_ALL, ON_BEHALF_OF, CallerRoute, CurrentCaller
from token_api.endpoints.video import REFUSALS
from token_api.problems import Kind, ProblemError
from token_api.state import CurrentState, state_of
from token_api.use_cases import chat, chat_tokens
from token_api.use_cases.idempotency import Answer
from token_api.use_cases.standing import not_found

chat_token_scheme = HTTPBearer(
    auto_error=False,
    scheme_name="chatToken",
    bearerFormat="JWT",
    description="The builtin chat's token, of POST /v1/streams/{stream_id}/chat-token",
)


class ChatRoute(CallerRoute):
    """A route that also takes a chat token, of the stream that its path names."""

    async def caller_of(self, request: Request) -> Caller:
        given = request.headers.getlist("authorization")
        scheme, _, bearer = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() == "bearer" and ON_BEHALF_OF not in request.headers:
            services = state_of(request).services
            keys = [key_from(key) for key in services.settings.service_keys]
            try:
                holder = read_token(keys, bearer, services.clock.now())
            except NoChatToken:
                return await super().caller_of(request)
            if holder.stream_id != request.path_params.get("stream_id"):
                raise not_found()
            return UserCaller(holder.user_id, holder.name)
        return await super().caller_of(request)


_tokens = APIRouter(prefix="/v1/streams", tags=["chat"], route_class=CallerRoute, dependencies=FOR_ALL)
_chat = APIRouter(
    prefix="/v1/streams/{stream_id}/chat",
    tags=["chat"],
    route_class=ChatRoute,
    dependencies=[*FOR_ALL, Security(chat_token_scheme)],
)


class ChatTokenRequest(Body):
    """What may be wished of a token; nothing needs to be."""

    name: DisplayName = Field(
        "", description="Shown to others. Taken from the host application alone: users' are in their JWT"
    )


class ChatTokenResponse(BaseModel):
    """What a client needs to chat."""

    provider: str = Field(description="builtin or getstream: whose token it is")
    token: str = Field(description="builtin: a Bearer for the paths below; getstream: for connectUser")
    user_id: str
    role: StreamRole
    expires_at: datetime
    exp: int = Field(description="`expires_at` as seconds since 1970")
    messages_path: str | None = Field(description="builtin: history, and where to write; else null")
    api_key: str | None = Field(description="getstream: the app's key; else null")
    channel_type: str | None = Field(description="getstream: the channel's type; else null")
    channel_id: str | None = Field(description="getstream: `<channel_type>:<stream id>`; else null")


class MessageRequest(Body):
    """A message to be written."""

    text: Annotated[
        str,
        Field(min_length=1, description=f"Plain text, at most {MAX_LENGTH} characters and {MAX_BYTES} bytes"),
        AfterValidator(clean),
    ]
    name: DisplayName = Field(
        "", description="Shown to others. Taken from the host application alone: users' are in their JWT"
    )


class MessageView(BaseModel):
    """A message. Put `text` and `name` into a page by `textContent`: they are text, never HTML."""

    id: str
    sequence: int = Field(description="its place in the chat")
    revision: int = Field(description="the chat's revision when it last changed")
    user_id: str
    name: str
    role: StreamRole = Field(description="what its writer was to the stream")
    text: str | None = Field(description="null once it is deleted")
    sent_at: datetime
    deleted: bool


class SettingsView(BaseModel):
    """How the chat is."""

    enabled: bool
    slow_mode_seconds: int = Field(description="one message in so many seconds, for viewers and guests")
    max_length: int = Field(description="characters of a message")


class SettingsChange(Body):
    """What is to be changed of the chat; what is not given stays."""

    enabled: bool | None = None
    slow_mode_seconds: Annotated[int, Field(ge=0, le=chat.MAX_SLOW_MODE_SECONDS)] | None = None
    max_length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] | None = None

    @model_validator(mode="after")
    def _not_null(self) -> SettingsChange:
        for field in self.model_fields_set:
            if getattr(self, field) is None:
                raise ValueError(f"{field} may not be null; leave it out to keep it")
        return self


class MessagePage(BaseModel):
    """Some messages, the chat's settings, and how to go on."""

    items: list[MessageView]
    next_cursor: str | None = Field(
        description="`cursor` of older messages; null at the end, and with `after`"
    )
    revision: int = Field(description="`after` of the next request for what has changed since")
    more: bool = Field(description="whether there is more at once")
    settings: SettingsView


def _view(message: ChatMessage) -> MessageView:
    return MessageView.model_validate(chat.told(message))


def _settings_view(settings: chat.ChatSettings) -> SettingsView:
    return SettingsView.model_validate(vars(settings))


@_tokens.post(
    "/{stream_id}/chat-token",
    status_code=201,
    responses=problems(*REFUSALS, Kind.CONFLICT, Kind.MEDIA_TYPE),
)
async def create_chat_token(
    stream_id: str, state: CurrentState, caller: CurrentCaller, wanted: ChatTokenRequest | None = None
) -> ChatTokenResponse:
    """A token with which the caller's user chats: of the builtin chat, or of GetStream.

    It lives for ten minutes, and never beyond the user's access.
    """
    services = state.services
    async with services.database.read() as transaction:
        made = await chat_tokens.chat_token(
            transaction,
            services.settings,
            caller,
            stream_id,
            name=wanted.name if wanted is not None else "",
            now=services.clock.now(),
        )
    return ChatTokenResponse(
        provider=made.provider,
        token=made.token,
        user_id=made.user_id,
        role=made.role,
        expires_at=made.expires_at,
        exp=int(made.expires_at.timestamp()),
        messages_path=f"/v1/streams/{stream_id}/chat/messages" if made.channel is None else None,
        api_key=made.api_key,
        channel_type=CHANNEL_TYPE if made.channel is not None else None,
        channel_id=made.channel,
    )


@_chat.post(
    "/messages",
    status_code=201,
    response_model=MessageView,
    responses=problems(*REFUSALS, Kind.STREAM_NOT_LIVE, Kind.CHAT_CLOSED, Kind.SLOW_MODE, Kind.MEDIA_TYPE),
)
async def create_message(
    *,
    stream_id: str,
    wanted: MessageRequest,
    request: Request,
    state: CurrentState,
    caller: CurrentCaller,
    key: Key = None,
) -> JSONResponse:
    """Write a message. It is kept whether or not LiveKit can be told of it now.

    Characters that cannot be seen are taken out: control characters, and marks that turn the direction of
    text round. Line ends become spaces.
    """
    chat.require_builtin(state.settings)

    async def change(transaction: AsyncSession, now: datetime) -> Answer:
        message = await chat.post(transaction, caller, stream_id, wanted.text, name=wanted.name, now=now)
        state.metrics.chat_messages.labels(message.role.value).inc()
        return answer(
            201,
            _view(message),
            location=f"/v1/streams/{stream_id}/chat/messages?after={message.revision - 1}",
        )

    return await once(state, request, caller, change, key=key, body=wanted)


@_chat.get("/messages", responses=problems(*REFUSALS, Kind.CHAT_CLOSED))
async def list_messages(
    *,
    stream_id: str,
    state: CurrentState,
    caller: CurrentCaller,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    after: Annotated[
        int | None,
        Query(
            ge=0,
            le=2**53,
            description="a `revision`: only what changed after it, oldest first, with deleted messages too",
        ),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> MessagePage:
    """The chat, newest first, for whoever comes in; or with `after`, what somebody who is in has missed."""
    chat.require_builtin(state.settings)
    if cursor is not None and after is not None:
        raise ProblemError(Kind.VALIDATION, "cursor, after: give one of the two.")
    services = state.services
    now = services.clock.now()
    async with services.database.read() as transaction:
        if after is None:
            page = await chat.history(transaction, caller, stream_id, cursor=cursor, limit=limit, now=now)
        else:
            page = await chat.changes(transaction, caller, stream_id, after=after, limit=limit, now=now)
    return MessagePage(
        items=[_view(message) for message in page.items],
        next_cursor=page.next_cursor,
        revision=page.revision,
        more=page.more,
        settings=_settings_view(page.settings),
    )


@_chat.delete(
    "/messages/{message_id}",
    status_code=204,
    response_class=Response,
    responses=problems(*REFUSALS, *STREAM_PROBLEMS, Kind.CHAT_CLOSED),
)
async def delete_message(
    stream_id: str, message_id: str, state: CurrentState, caller: CurrentCaller
) -> Response:
    """Take a message out of the chat: the owner and the team any, others their own of the last minutes."""
    chat.require_builtin(state.settings)
    async with state.services.database.begin() as transaction:
        await chat.delete(transaction, caller, stream_id, message_id, state.services.clock.now())
    return Response(status_code=204)


@_chat.patch("/settings", responses=problems(*STREAM_PROBLEMS, Kind.CHAT_CLOSED, Kind.MEDIA_TYPE))
async def change_chat_settings(
    stream_id: str, wanted: SettingsChange, state: CurrentState, caller: CurrentCaller
) -> SettingsView:
    """Switch the chat on or off, slow it down, or shorten its messages. The room is told."""
    chat.require_builtin(state.settings)
    async with state.services.database.begin() as transaction:
        settings = await chat.change_settings(
            transaction, caller, stream_id, wanted.model_dump(exclude_unset=True), state.services.clock.now()
        )
    return _settings_view(settings)


router = APIRouter()
router.include_router(_tokens)
router.include_router(_chat)
