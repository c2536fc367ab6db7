"""LiveKit's Twirp API over real HTTP, with rooms and participants in memory.

It checks what LiveKit checks: the signature, and that the token's grants cover the call. Requests are
protobuf, as livekit-api sends them; the readiness probe's JSON is answered too.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
from google.protobuf.message import Message
from livekit.protocol import egress as proto_egress
from livekit.protocol import models as proto
from livekit.protocol import room as proto_room

from tests.support.http_server import Server
from tests.support.serving import serving_in_thread
from tests.unit.token_api.support import KEY, SECRET


class TwirpError(Exception):
    """An error of LiveKit's: its code, and the HTTP status that goes with it."""

    def __init__(self, code: str, status: int, text: str = "as told") -> None:
        self.code = code
        self.status = status
        self.text = text
        super().__init__(code)


NOT_FOUND = TwirpError("not_found", 404)
# SendData does not look whether the room exists: it asks whoever has it, and nobody answers.
NO_RESPONSE = TwirpError("unavailable", 503, "no response from servers")
_ROOM, _EGRESS = "livekit.RoomService", "livekit.Egress"
_ADMIN = "roomAdmin"


@dataclass
class LiveKitDouble:
    """What the double has, and what was asked of it. `failing`: method → the error that it answers with."""

    rooms: dict[str, proto.Room] = field(default_factory=dict)
    participants: dict[str, dict[str, proto.ParticipantInfo]] = field(default_factory=dict)
    egresses: dict[str, proto_egress.EgressInfo] = field(default_factory=dict)
    data: list[proto_room.SendDataRequest] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    failing: dict[str, TwirpError] = field(default_factory=dict)
    # Asked about each request by its method: the error that this one is answered with, or None.
    refusing: Callable[[str, Any], TwirpError | None] | None = None
    # Called before each answer, in the server's thread: to be slow, or to look.
    before: Callable[[str], None] | None = None
    # As `before`, with the request too: to be slow for some.
    holding: Callable[[str, Any], None] | None = None
    url: str = ""
    # How many came in: each gets a sid of their own, also one who comes back.
    joined: int = 0
    # How many rooms were created: each has a sid of its own, also one that comes back.
    created: int = 0

    def join(self, room: str, token: str) -> proto.ParticipantInfo:
        """Have the holder of `token` come into `room`, as LiveKit would. Raises PermissionError."""
        claims = jwt.decode(token, SECRET, algorithms=["HS256"])
        video = claims["video"]
        if video.get("room") != room or not video.get("roomJoin") or room not in self.rooms:
            raise PermissionError(f"no joining {room}")
        self.joined += 1
        joined = proto.ParticipantInfo(
            sid=f"PA_{claims['sub']}_{self.joined}",
            identity=claims["sub"],
            name=claims.get("name", ""),
            state=proto.ParticipantInfo.State.ACTIVE,
            joined_at=int(time.time()),
            permission=proto.ParticipantPermission(
                can_subscribe=video["canSubscribe"],
                can_publish=video["canPublish"],
                can_publish_data=video["canPublishData"],
                can_publish_sources=[source.upper() for source in video.get("canPublishSources") or []],
            ),
        )
        self.participants[room][claims["sub"]] = joined
        return joined

    def publish(self, room: str, identity: str, source: proto.TrackSource) -> str:
        """Have somebody publish a track; its sid."""
        sid = f"TR_{identity}_{proto.TrackSource.Name(source)}"
        self.participants[room][identity].tracks.append(proto.TrackInfo(sid=sid, source=source))
        return sid

    def join_recorder(self, egress_id: str) -> proto.ParticipantInfo:
        """Have the recorder of an egress come in: hidden, and under the egress' id."""
        joined = proto.ParticipantInfo(
            sid=f"PA_{egress_id}",
            identity=egress_id,
            kind=proto.ParticipantInfo.Kind.EGRESS,
            state=proto.ParticipantInfo.State.ACTIVE,
            joined_at=int(time.time()),
            permission=proto.ParticipantPermission(can_subscribe=True, hidden=True, recorder=True),
        )
        self.participants[self.egresses[egress_id].room_name][egress_id] = joined
        return joined

    def room_create(self, request: proto_room.CreateRoomRequest) -> proto.Room:
        self.participants.setdefault(request.name, {})
        if request.name not in self.rooms:
            self.created += 1
            self.rooms[request.name] = proto.Room(
                sid=f"RM_{self.created}",
                name=request.name,
                metadata=request.metadata,
                max_participants=request.max_participants,
                empty_timeout=request.empty_timeout,
                departure_timeout=request.departure_timeout,
                creation_time=int(time.time()),
            )
        return self.rooms[request.name]

    def room_list(self, request: proto_room.ListRoomsRequest) -> proto_room.ListRoomsResponse:
        wanted = list(request.names)
        found = [room for name, room in self.rooms.items() if not wanted or name in wanted]
        for room in found:
            room.num_participants = len(self.participants[room.name])
        return proto_room.ListRoomsResponse(rooms=found)

    def room_delete(self, request: proto_room.DeleteRoomRequest) -> proto_room.DeleteRoomResponse:
        if request.room not in self.rooms:
            raise NOT_FOUND
        del self.rooms[request.room], self.participants[request.room]
        return proto_room.DeleteRoomResponse()

    def metadata(self, request: proto_room.UpdateRoomMetadataRequest) -> proto.Room:
        room = self.rooms.get(request.room)
        if room is None:
            raise NOT_FOUND
        room.metadata = request.metadata
        return room

    def list_participants(
        self, request: proto_room.ListParticipantsRequest
    ) -> proto_room.ListParticipantsResponse:
        found = self.participants.get(request.room, {})
        return proto_room.ListParticipantsResponse(participants=found.values())

    def participant(self, request: Any) -> proto.ParticipantInfo:
        found = self.participants.get(request.room, {}).get(request.identity)
        if found is None:
            raise NOT_FOUND
        return found

    def remove(self, request: proto_room.RoomParticipantIdentity) -> proto_room.RemoveParticipantResponse:
        self.participant(request)
        del self.participants[request.room][request.identity]
        return proto_room.RemoveParticipantResponse()

    def mute(self, request: proto_room.MuteRoomTrackRequest) -> proto_room.MuteRoomTrackResponse:
        for track in self.participant(request).tracks:
            if track.sid == request.track_sid:
                track.muted = request.muted
                return proto_room.MuteRoomTrackResponse(track=track)
        raise NOT_FOUND

    def update(self, request: proto_room.UpdateParticipantRequest) -> proto.ParticipantInfo:
        found = self.participant(request)
        if request.HasField("permission"):
            found.permission.CopyFrom(request.permission)
        return found

    def send(self, request: proto_room.SendDataRequest) -> proto_room.SendDataResponse:
        if request.room not in self.rooms:
            raise NO_RESPONSE
        self.data.append(request)
        return proto_room.SendDataResponse()

    def start_egress(self, request: proto_egress.RoomCompositeEgressRequest) -> proto_egress.EgressInfo:
        if request.room_name not in self.rooms:
            raise NOT_FOUND
        made = proto_egress.EgressInfo(
            egress_id=f"EG_{len(self.egresses)}",
            room_name=request.room_name,
            status=proto_egress.EgressStatus.EGRESS_STARTING,
            room_composite=request,
            started_at=time.time_ns(),
        )
        self.egresses[made.egress_id] = made
        return made

    def update_layout(self, request: proto_egress.UpdateLayoutRequest) -> proto_egress.EgressInfo:
        found = self.egresses.get(request.egress_id)
        if found is None:
            raise NOT_FOUND
        recorder = self.participants.get(found.room_name, {}).get(request.egress_id)
        if recorder is None:
            raise NOT_FOUND
        recorder.metadata = json.dumps({"layout": request.layout})
        return found

    def stop_egress(self, request: proto_egress.StopEgressRequest) -> proto_egress.EgressInfo:
        found = self.egresses.get(request.egress_id)
        if found is None:
            raise NOT_FOUND
        if found.status > proto_egress.EgressStatus.EGRESS_ACTIVE:
            raise TwirpError("failed_precondition", 412)
        found.status = proto_egress.EgressStatus.EGRESS_ENDING
        return found

    def list_egress(self, request: proto_egress.ListEgressRequest) -> proto_egress.ListEgressResponse:
        if request.egress_id and request.egress_id not in self.egresses:
            raise NOT_FOUND
        ended = {"EGRESS_COMPLETE", "EGRESS_FAILED", "EGRESS_ABORTED", "EGRESS_LIMIT_REACHED"}
        found = [
            egress
            for egress in self.egresses.values()
            if request.room_name in {"", egress.room_name}
            and request.egress_id in {"", egress.egress_id}
            and not (request.active and proto_egress.EgressStatus.Name(egress.status) in ended)
        ]
        return proto_egress.ListEgressResponse(items=found)


# Path → the grant that LiveKit asks for, the request's type, what answers it.
_METHODS: dict[str, tuple[str, type[Message], Callable[[LiveKitDouble, Any], Message]]] = {
    f"{_ROOM}/CreateRoom": ("roomCreate", proto_room.CreateRoomRequest, LiveKitDouble.room_create),
    f"{_ROOM}/ListRooms": ("roomList", proto_room.ListRoomsRequest, LiveKitDouble.room_list),
    f"{_ROOM}/DeleteRoom": ("roomCreate", proto_room.DeleteRoomRequest, LiveKitDouble.room_delete),
    f"{_ROOM}/UpdateRoomMetadata": (_ADMIN, proto_room.UpdateRoomMetadataRequest, LiveKitDouble.metadata),
    f"{_ROOM}/ListParticipants": (
        _ADMIN,
        proto_room.ListParticipantsRequest,
        LiveKitDouble.list_participants,
    ),
    f"{_ROOM}/GetParticipant": (_ADMIN, proto_room.RoomParticipantIdentity, LiveKitDouble.participant),
    f"{_ROOM}/RemoveParticipant": (_ADMIN, proto_room.RoomParticipantIdentity, LiveKitDouble.remove),
    f"{_ROOM}/MutePublishedTrack": (_ADMIN, proto_room.MuteRoomTrackRequest, LiveKitDouble.mute),
    f"{_ROOM}/UpdateParticipant": (_ADMIN, proto_room.UpdateParticipantRequest, LiveKitDouble.update),
    f"{_ROOM}/SendData": (_ADMIN, proto_room.SendDataRequest, LiveKitDouble.send),
    f"{_EGRESS}/StartRoomCompositeEgress": (
        "roomRecord",
        proto_egress.RoomCompositeEgressRequest,
        LiveKitDouble.start_egress,
    ),
    f"{_EGRESS}/UpdateLayout": (
        "roomRecord",
        proto_egress.UpdateLayoutRequest,
        LiveKitDouble.update_layout,
    ),
    f"{_EGRESS}/StopEgress": ("roomRecord", proto_egress.StopEgressRequest, LiveKitDouble.stop_egress),
    f"{_EGRESS}/ListEgress": ("roomRecord", proto_egress.ListEgressRequest, LiveKitDouble.list_egress),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        standing = self.server
        assert isinstance(standing, _Server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        grant, request_type, answer = _METHODS[self.path.removeprefix("/twirp/")]
        method = self.path.rpartition("/")[2]
        double = standing.double
        if self.headers["Content-Type"] == "application/json":
            self._send(200, "application/json", b'{"rooms": []}')
            return
        with standing.lock:
            double.calls.append(method)
        request = request_type.FromString(body)
        if double.before is not None:
            double.before(method)
        if double.holding is not None:
            double.holding(method, request)
        with standing.lock:
            try:
                self._allow(grant)
                if method in double.failing:
                    raise double.failing[method]
                if double.refusing is not None and (refusal := double.refusing(method, request)):
                    raise refusal
                reply = answer(double, request)
            except TwirpError as error:
                text = json.dumps({"code": error.code, "msg": error.text})
                self._send(error.status, "application/json", text.encode())
                return
            self._send(200, "application/protobuf", reply.SerializeToString())

    def _allow(self, grant: str) -> None:
        token = self.headers["Authorization"].removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer=KEY)
        except jwt.InvalidTokenError as error:
            raise TwirpError("unauthenticated", 401) from error
        if not claims["video"].get(grant):
            raise TwirpError("permission_denied", 403)

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for the test."""


class _Server(Server):
    # Connections are kept open by the client: the test need not wait for them to end.
    daemon_threads = True
    block_on_close = False

    def __init__(self, double: LiveKitDouble) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.double = double
        self.lock = threading.Lock()


@contextmanager
def livekit_double() -> Iterator[LiveKitDouble]:
    """A double that listens on loopback for the block."""
    double = LiveKitDouble()
    server = _Server(double)
    double.url = f"ws://127.0.0.1:{server.server_port}"
    with serving_in_thread(server):
        yield double
