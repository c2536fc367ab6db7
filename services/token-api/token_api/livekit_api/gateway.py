"""The only place that talks to LiveKit's API, by one client that lives as long as the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import aiohttp
import structlog
from livekit.api import LiveKitAPI, ServerError
from livekit.protocol import egress as proto_egress
from livekit.protocol import models as proto
from livekit.protocol import room as proto_room

from token_api.domain.roles import Permissions
from token_api.livekit_api.values import (
    EgressState,
    NewRoom,
    Room,
    RoomParticipant,
    egress_of,
    participant_of,
    permission_of,
    room_of,
)
from token_api.problems import Kind, ProblemError
from token_api.tokens import ApiCredentials

# The whole of one call. A person waits behind it.
TIMEOUT_SECONDS = 5.0
# LiveKit asks its recorders for one that is free, several times, for 22 s in all where none answers.
START_RECORDING_SECONDS = 12.0
# Names in one ListRooms.
ROOMS_AT_ONCE = 500
RETRY_AFTER = {"Retry-After": "2"}
_UNAVAILABLE = (
    Kind.LIVEKIT_UNAVAILABLE,
    "LiveKit does not answer; nothing is lost by trying again.",
    RETRY_AFTER,
)
# What livekit-server 1.13.5 says, with code unknown, of a room whose node is not in Redis anymore.
_NO_NODE = "could not find object"

T = TypeVar("T")
log = structlog.get_logger()


class NotInLiveKit(Exception):
    """LiveKit has no such room, participant, track or recording."""


class _NobodyResponds(ProblemError):
    """LiveKit answers, but none of its nodes does for what was asked of it: LIVEKIT_UNAVAILABLE."""


class Gateway:
    """Calls LiveKit. Every method raises what `_ask` does."""

    def __init__(self, http_url: str, credentials: ApiCredentials) -> None:
        self._url = http_url
        self._credentials = credentials
        self._made: LiveKitAPI | None = None

    @property
    def _api(self) -> LiveKitAPI:
        # Made in the loop that uses it. `failover` asks LiveKit's cloud, which we are not. No `timeout`:
        # with each call the client tells its session that there is none. See `_ask`.
        if self._made is None:
            self._made = LiveKitAPI(
                self._url, self._credentials.key, self._credentials.secret, failover=False
            )
        return self._made

    async def aclose(self) -> None:
        if self._made is not None:
            await self._made.aclose()
            self._made = None

    async def create_room(self, new: NewRoom) -> Room:
        """Make a room. One that has the name already is left as it is, and given back."""
        request = proto_room.CreateRoomRequest(
            name=new.name,
            metadata=new.metadata,
            max_participants=new.max_participants,
            empty_timeout=new.empty_timeout,
            departure_timeout=new.departure_timeout,
        )
        return room_of(await _ask("CreateRoom", self._api.room.create_room(request)))

    async def rooms(self, names: Sequence[str] = ()) -> list[Room]:
        """All rooms, or those of `names` that there are."""
        found: list[Room] = []
        # No names are all rooms.
        for start in range(0, len(names) or 1, ROOMS_AT_ONCE):
            request = proto_room.ListRoomsRequest(names=names[start : start + ROOMS_AT_ONCE])
            answer = await _ask("ListRooms", self._api.room.list_rooms(request))
            found += [room_of(room) for room in answer.rooms]
        return found

    async def delete_room(self, name: str) -> bool:
        """Put everyone out and remove the room; False where there is none."""
        request = proto_room.DeleteRoomRequest(room=name)
        try:
            await self._in_room(name, "DeleteRoom", lambda: self._api.room.delete_room(request))
        except NotInLiveKit:
            return False
        return True

    async def set_room_metadata(self, name: str, metadata: str) -> None:
        request = proto_room.UpdateRoomMetadataRequest(room=name, metadata=metadata)
        await self._in_room(name, "UpdateRoomMetadata", lambda: self._api.room.update_room_metadata(request))

    async def participants(self, room: str) -> list[RoomParticipant]:
        """Who is in the room; nobody where there is no room."""
        request = proto_room.ListParticipantsRequest(room=room)
        try:
            found = await _ask("ListParticipants", self._api.room.list_participants(request))
        except NotInLiveKit:
            return []
        return [participant_of(participant) for participant in found.participants]

    async def participant(self, room: str, identity: str) -> RoomParticipant:
        request = proto_room.RoomParticipantIdentity(room=room, identity=identity)
        return participant_of(await _ask("GetParticipant", self._api.room.get_participant(request)))

    async def remove_participant(self, room: str, identity: str) -> bool:
        """Put somebody out of the room; False where they are not in it."""
        request = proto_room.RoomParticipantIdentity(room=room, identity=identity)
        try:
            await _ask("RemoveParticipant", self._api.room.remove_participant(request))
        except NotInLiveKit:
            return False
        return True

    async def mute_track(self, room: str, identity: str, track_sid: str, *, muted: bool) -> None:
        request = proto_room.MuteRoomTrackRequest(
            room=room, identity=identity, track_sid=track_sid, muted=muted
        )
        await _ask("MutePublishedTrack", self._api.room.mute_published_track(request))

    async def set_permissions(self, room: str, identity: str, permissions: Permissions) -> RoomParticipant:
        """What somebody in the room may do from now on. LiveKit unpublishes what is no longer allowed."""
        request = proto_room.UpdateParticipantRequest(
            room=room, identity=identity, permission=permission_of(permissions)
        )
        return participant_of(await _ask("UpdateParticipant", self._api.room.update_participant(request)))

    async def send_data(self, room: str, data: bytes, *, topic: str, identities: Sequence[str] = ()) -> None:
        """Send `data` reliably to all in the room, or to `identities`."""
        request = proto_room.SendDataRequest(
            room=room,
            data=data,
            kind=proto.DataPacket.Kind.RELIABLE,
            topic=topic,
            destination_identities=identities,
        )
        await self._in_room(room, "SendData", lambda: self._api.room.send_data(request))

    async def start_recording(self, room: str, object_key: str, layout: str) -> EgressState:
        """Have the whole room recorded as MP4 to `object_key`. In which store, the recorder itself knows.

        An error does not say that nothing was started.
        """
        request = proto_egress.RoomCompositeEgressRequest(
            room_name=room,
            layout=layout,
            file_outputs=[
                proto_egress.EncodedFileOutput(
                    file_type=proto_egress.EncodedFileType.MP4, filepath=object_key, disable_manifest=True
                )
            ],
        )
        asked = self._api.egress.start_room_composite_egress(request)
        return egress_of(await _ask("StartRoomCompositeEgress", asked, seconds=START_RECORDING_SECONDS))

    async def stop_recording(self, egress_id: str) -> EgressState:
        request = proto_egress.StopEgressRequest(egress_id=egress_id)
        return egress_of(await _ask("StopEgress", self._api.egress.stop_egress(request)))

    async def set_recording_layout(self, egress_id: str, layout: str) -> EgressState:
        """Change the layout of a recording that goes on. NotInLiveKit also where its recorder is not in the
        room (yet, or anymore): LiveKit tells it by its participant's metadata."""
        request = proto_egress.UpdateLayoutRequest(egress_id=egress_id, layout=layout)
        return egress_of(await _ask("UpdateLayout", self._api.egress.update_layout(request)))

    async def recordings(
        self, *, room: str = "", egress_id: str = "", active: bool = False
    ) -> list[EgressState]:
        """Recordings that LiveKit remembers: all, or those of a room, or one."""
        request = proto_egress.ListEgressRequest(room_name=room, egress_id=egress_id, active=active)
        found = await _ask("ListEgress", self._api.egress.list_egress(request))
        return [egress_of(egress) for egress in found.items]

    async def _in_room(self, room: str, method: str, call: Callable[[], Awaitable[T]]) -> T:
        """Ask the node that has the room. If that node died, the room is given to another node first.

        Raises:
            NotInLiveKit: there is no such room. It is not created.
        """
        try:
            return await _ask(method, call())
        except _NobodyResponds:
            await self._give_to_another_node(room)
            return await _ask(method, call())

    async def _give_to_another_node(self, room: str) -> None:
        """Have LiveKit choose a node for a room that no node answers for.

        A node that was killed leaves its rooms in Redis, and no node answers for them, however long one
        waits. CreateRoom for an existing room changes only its node (livekit-server 1.13.5,
        `RoomService.DeleteRoom` and `SelectRoomNode`). But no node answers for a room that does not exist,
        either (SendData does not check that), and CreateRoom would create it, without its settings.

        Raises:
            NotInLiveKit: there is no such room.
        """
        found = await self.rooms([room])
        if not found:
            raise NotInLiveKit(room)
        placed = room_of(
            await _ask("CreateRoom", self._api.room.create_room(proto_room.CreateRoomRequest(name=room)))
        )
        if placed.sid != found[0].sid and not placed.metadata:
            # The room was deleted after it was listed, and CreateRoom created another one.
            await _ask("DeleteRoom", self._api.room.delete_room(proto_room.DeleteRoomRequest(room=room)))
            raise NotInLiveKit(room)


async def _ask(method: str, call: Awaitable[T], *, seconds: float | None = None) -> T:
    """The answer to `call`, which takes no longer than `seconds` (None: TIMEOUT_SECONDS).

    Raises:
        NotInLiveKit: there is no such thing.
        ProblemError: LIVEKIT_UNAVAILABLE (503) where LiveKit, or what it needs for this, does not answer;
            LIVEKIT_ERROR (502) where it refuses.
    """
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS if seconds is None else seconds):
            return await call
    except ServerError as error:
        if error.code == "not_found":
            raise NotInLiveKit(method) from error
        # Its message is for the log: it may quote our token.
        log.warning(
            "livekit_refused", method=method, code=error.code, status=error.status, text=error.message
        )
        if error.code == "unavailable" or error.message == _NO_NODE:
            raise _NobodyResponds(*_UNAVAILABLE) from error
        if error.code == "deadline_exceeded" or error.status in {502, 503, 504}:
            raise ProblemError(*_UNAVAILABLE) from error
        raise ProblemError(Kind.LIVEKIT_ERROR, f"LiveKit refused {method} ({error.code}).") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("livekit_unreachable", method=method, error=type(error).__name__)
        raise ProblemError(*_UNAVAILABLE) from error
