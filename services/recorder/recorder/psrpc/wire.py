"""The messages of psrpc, and how they travel through Redis.

Facts: livekit/psrpc v0.7.2, `internal/internal.proto`, `internal/bus/serialization.go`.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from google.protobuf.message import Message

from recorder.psrpc.schema import FLOAT, message

M = TypeVar("M", bound=Message)


@message("internal")
class Msg(Message):
    """The envelope of every message."""

    type_url: Annotated[str, 1] = ""
    value: Annotated[bytes, 2] = b""


@message("internal")
class Request(Message):
    """A call. `sent_at` and `expiry` are nanoseconds since 1970."""

    request_id: Annotated[str, 1] = ""
    client_id: Annotated[str, 2] = ""
    sent_at: Annotated[int, 3] = 0
    expiry: Annotated[int, 4] = 0
    multi: Annotated[bool, 5] = False
    raw_request: Annotated[bytes, 8] = b""


@message("internal")
class ClaimRequest(Message):
    """A server would answer the call. `affinity`: how much it wants to, 0 to 1."""

    request_id: Annotated[str, 1] = ""
    server_id: Annotated[str, 2] = ""
    affinity: Annotated[float, 3, FLOAT] = 0.0


@message("internal")
class ClaimResponse(Message):
    """The caller chose this server."""

    request_id: Annotated[str, 1] = ""
    server_id: Annotated[str, 2] = ""


@message("internal")
class Response(Message):
    """The answer to a call: either `raw_response`, or `error` and `code`."""

    request_id: Annotated[str, 1] = ""
    server_id: Annotated[str, 2] = ""
    sent_at: Annotated[int, 3] = 0
    error: Annotated[str, 5] = ""
    code: Annotated[str, 6] = ""
    raw_response: Annotated[bytes, 7] = b""


def pack(sent: Message) -> bytes:
    """What is published for a message."""
    type_url = f"type.googleapis.com/{sent.DESCRIPTOR.full_name}"
    return Msg(type_url=type_url, value=sent.SerializeToString()).SerializeToString()


def unpack(kind: type[M], payload: bytes) -> M:
    """The message of type `kind` in what was published. Raises google.protobuf.message.DecodeError."""
    return kind.FromString(Msg.FromString(payload).value)
