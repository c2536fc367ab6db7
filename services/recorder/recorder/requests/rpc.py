"""LiveKit's internal messages for egress workers. Facts: livekit/protocol, `protobufs/rpc/egress.proto`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from google.protobuf.message import Message

from recorder.psrpc.schema import message

# The kinds of request in StartEgressRequest's `oneof request`: these fields hold serialized messages.
REQUEST_KINDS = ("egress", "replay", "room_composite", "web", "participant", "track_composite", "track")


@message("rpc", one_of={"request": REQUEST_KINDS})
class StartEgressRequest(Message):
    """A request of the Egress API, as livekit-server passes it to a worker.

    `token` and `ws_url` say how the room is joined; they may be empty. `estimated_cpu` is in cores, 0 without
    an estimate. `retry_count` counts earlier attempts.
    """

    egress_id: Annotated[str, 1] = ""
    room_id: Annotated[str, 3] = ""
    room_composite: Annotated[bytes, 5] = b""
    track_composite: Annotated[bytes, 6] = b""
    track: Annotated[bytes, 7] = b""
    token: Annotated[str, 8] = ""
    ws_url: Annotated[str, 9] = ""
    web: Annotated[bytes, 11] = b""
    participant: Annotated[bytes, 13] = b""
    estimated_cpu: Annotated[float, 14] = 0.0
    retry_count: Annotated[int, 15] = 0
    egress: Annotated[bytes, 16] = b""
    replay: Annotated[bytes, 17] = b""
    room_name: Annotated[str, 18] = ""


@message("rpc")
class ListActiveEgressRequest(Message):
    """Asks every worker for its egresses."""


@message("rpc")
class ListActiveEgressResponse(Message):
    """The egresses that one worker records."""

    egress_ids: Annotated[Sequence[str], 1] = ()


@message("livekit")
class UpdateEgressRequest(Message):
    """Changes an egress. livekit-protocol for Python lacks it; livekit-server 1.13.5 has it internally."""

    egress_id: Annotated[str, 1] = ""
    url: Annotated[str, 2] = ""
    layout: Annotated[str, 3] = ""
    add_stream_urls: Annotated[Sequence[str], 4] = ()
    remove_stream_urls: Annotated[Sequence[str], 5] = ()
