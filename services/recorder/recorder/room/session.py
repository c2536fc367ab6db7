"""The recorder as a participant: joins, subscribes, and comes back when the connection is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from livekit import rtc

from recorder.compose.layouts import Placed
from recorder.errors import Code, EgressError
from recorder.info import EndReason
from recorder.requests.kinds import Kind
from recorder.requests.plan import Plan, RoomFacts
from recorder.requests.sources import OneTrack
from recorder.room.choice import Published, channel_of, is_wanted
from recorder.room.layers import Layers, Shown
from recorder.room.people import People
from recorder.room.tracks import Pumps

_CONNECT_SECONDS = 10.0
_FIRST_RETRY_SECONDS = 0.2
_LAST_RETRY_SECONDS = 3.0
_RECONCILE_SECONDS = 1.0
# After the connection was lost, participants may come back later than the recorder.
_RETURN_SECONDS = 15.0
_OVER = frozenset(
    {
        rtc.DisconnectReason.CLIENT_INITIATED,
        rtc.DisconnectReason.PARTICIPANT_REMOVED,
        rtc.DisconnectReason.ROOM_DELETED,
        rtc.DisconnectReason.ROOM_CLOSED,
    }
)
_NO_ROOM = "room does not exist"
_SOURCES: dict[int, str] = {
    rtc.TrackSource.SOURCE_CAMERA: "camera",
    rtc.TrackSource.SOURCE_MICROPHONE: "microphone",
    rtc.TrackSource.SOURCE_SCREENSHARE: "screen_share",
    rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO: "screen_share_audio",
}

log = structlog.get_logger()


@dataclass(frozen=True)
class Ending:
    """Why there is nothing more to record; `error` is None for an ordinary end."""

    reason: EndReason
    error: EgressError | None = None


class RoomSession:
    """Records one room's tracks into `people`. `run` must run; `layout` gets UpdateLayout's layouts."""

    def __init__(
        self, plan: Plan, people: People, rejoin_seconds: float, layout: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._people = people
        self._rejoin_seconds = rejoin_seconds
        self._layout = layout
        self._pumps = Pumps()
        self._layers = Layers()
        self._room: rtc.Room | None = None
        self._published: dict[str, Published] = {}
        self._heard_order: list[str] = []
        self._lost_at: float | None = None
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._ending_later: asyncio.TimerHandle | None = None
        # When the first wanted track was subscribed to.
        self.subscribed_at: float | None = None

    @property
    def wants_video(self) -> bool:
        """Whether a wanted video track is published."""
        return any(track.is_video for track in self._published.values())

    @property
    def missing_tracks(self) -> list[str]:
        """The tracks that the request names and nobody publishes."""
        named = [self._plan.video.track_id] if isinstance(self._plan.video, OneTrack) else []
        if self._plan.audio is not None:
            named += [route.track_id for route in self._plan.audio.routes if route.track_id]
        return [track_id for track_id in named if track_id not in self._published]

    @property
    def facts(self) -> RoomFacts:
        """What names of outputs are made of."""
        kind, tracks = self._plan.kind, list(self._published.values())
        if kind is Kind.TRACK and tracks:
            track = tracks[0]
            values = {
                "track_id": track.track_id,
                "track_type": "video" if track.is_video else "audio",
                "track_source": _SOURCES.get(track.source, "unknown"),
                "publisher_identity": track.identity,
            }
            width, height = self._size_of(track)
            return RoomFacts(track.track_id, values, is_video=track.is_video, width=width, height=height)
        if kind in {Kind.PARTICIPANT, Kind.TRACK_COMPOSITE, Kind.MEDIA} and tracks:
            return RoomFacts(self._plan.room_name, {"publisher_identity": tracks[0].identity})
        return RoomFacts(self._plan.room_name)

    def _size_of(self, track: Published) -> tuple[int, int]:
        """Width and height of a track's largest layer, upright; 0 if they are not known."""
        seen = self._people.picture_size() or (0, 0)
        if not track.width or not track.height:
            return seen
        # A publisher may name the size of a picture that lies on its side.
        is_turned = (track.width > track.height) != (seen[0] > seen[1])
        if is_turned and seen[0] != seen[1]:
            return track.height, track.width
        return track.width, track.height

    async def run(self, url: str, new_token: Callable[[], str]) -> Ending:
        """Be in the room until there is nothing more to record. Each attempt to join has a new token."""
        deadline = time.monotonic() + self._rejoin_seconds
        delay = _FIRST_RETRY_SECONDS
        try:
            while not self._ended.done():
                room = self._room = rtc.Room()
                left = self._listen(room)
                try:
                    # The SDK's own timeout does not cover every phase.
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        await room.connect(url, new_token(), rtc.RoomOptions(auto_subscribe=False))
                except (rtc.ConnectError, TimeoutError) as error:
                    await room.disconnect()
                    if (ending := self._not_joined(error, deadline)) is not None:
                        return ending
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, _LAST_RETRY_SECONDS)
                    continue
                delay = _FIRST_RETRY_SECONDS
                self._joined(room)
                waiting: list[asyncio.Future[Any]] = [left, self._ended]
                while not any(each.done() for each in waiting):
                    await asyncio.wait(
                        waiting, timeout=_RECONCILE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    self._reconcile(room)
                if self._ended.done():
                    break
                if (ending := self._left(left.result())) is not None:
                    return ending
                deadline = time.monotonic() + self._rejoin_seconds
            return self._ended.result()
        finally:
            await self._close()

    def end(self, reason: EndReason) -> None:
        """Leave the room."""
        self._finish(Ending(reason))

    def fit(self, placed: Iterable[Placed]) -> None:
        """Subscribe to layers that suffice for these tiles. Call it every `layers.INTERVAL` seconds."""
        self._layers.look(placed)
        room = self._room
        if room is None or not room.isconnected():
            return
        for track in [each for each in self._published.values() if each.is_video]:
            participant = room.remote_participants.get(track.identity)
            publication = participant.track_publications.get(track.track_id) if participant else None
            if publication is not None and publication.track is not None:
                self._layers.fit(publication, Shown(track.identity, track.shows))

    def _finish(self, ending: Ending) -> None:
        if not self._ended.done():
            self._ended.set_result(ending)

    async def _close(self) -> None:
        self._pumps.stop_all()
        if self._ending_later is not None:
            self._ending_later.cancel()
        if self._room is not None:
            await self._room.disconnect()

    def _not_joined(self, error: Exception, deadline: float) -> Ending | None:
        """What follows from a failed attempt to join: None means another attempt."""
        text = getattr(error, "message", "") or f"no answer within {_CONNECT_SECONDS:g} s"
        log.warning("room_not_joined", error=text)
        if self._lost_at is not None and _NO_ROOM in text:
            # The room ended while the recorder was away.
            return Ending(EndReason.SOURCE_CLOSED)
        if time.monotonic() < deadline and _NO_ROOM not in text:
            return None
        if self._lost_at is not None:
            text = "recording ended early: connection to room failed"
        return Ending(EndReason.FAILURE, EgressError(Code.UNAVAILABLE, text))

    def _left(self, reason: int) -> Ending | None:
        """What follows from leaving the room: None means to join again."""
        log.info("room_left", reason=rtc.DisconnectReason.Name(reason))  # type: ignore[arg-type]
        if reason in _OVER:
            return Ending(EndReason.SOURCE_CLOSED)
        if reason == rtc.DisconnectReason.DUPLICATE_IDENTITY:
            text = "recording ended early: another recorder joined as the same egress"
            return Ending(EndReason.FAILURE, EgressError(Code.ALREADY_EXISTS, text))
        self._lost_at = time.monotonic()
        self._pumps.stop_all()
        return None

    def _listen(self, room: rtc.Room) -> asyncio.Future[int]:
        """Follow the room's events; the result is the reason for leaving it. Precedes connecting."""
        left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def disconnected(reason: int) -> None:
            if not left.done():
                left.set_result(reason)

        def metadata_changed(participant: rtc.Participant, _old: str, new: str) -> None:
            if participant.identity == room.local_participant.identity:
                self._read_layout(new)

        room.on("disconnected", disconnected)
        room.on("reconnecting", self._lost_for_a_moment)
        room.on("reconnected", self._layers.forget)
        room.on("track_published", self._track_published)
        room.on("track_subscribed", self._track_subscribed)
        room.on("track_unsubscribed", lambda _, publication, who: self._track_gone(publication, who))
        room.on("track_unpublished", self._track_unpublished)
        room.on("track_muted", lambda who, publication: self._muted(who, publication, muted=True))
        room.on("track_unmuted", lambda who, publication: self._muted(who, publication, muted=False))
        room.on("participant_disconnected", self._participant_left)
        room.on("participant_name_changed", lambda who, _old, new: self._people.rename(who.identity, new))
        room.on("participant_metadata_changed", metadata_changed)
        room.on("active_speakers_changed", self._speak)
        return left

    def _joined(self, room: rtc.Room) -> None:
        log.info("room_joined", room=room.name, again=self._lost_at is not None)
        self._published.clear()
        self._layers.forget()
        self._people.keep_only(set(room.remote_participants))
        self._reconcile(room)
        if self._lost_at is not None:
            self._end_unless_tracks_return()

    def _reconcile(self, room: rtc.Room) -> None:
        """Ask for the wanted tracks that are not subscribed to.

        When the SDK restarts a connection, it forgets subscriptions and does not always announce the tracks.
        """
        if not room.isconnected():
            return
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.track is None:
                    self._track_published(publication, participant)

    def _lost_for_a_moment(self, *_: object) -> None:
        log.info("room_reconnecting")
        self._lost_at = time.monotonic()

    def _track_published(
        self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        track = _published(publication, participant)
        if not is_wanted(self._plan, track):
            return
        self._published[track.track_id] = track
        self._people.join(track.identity, participant.name or participant.identity, time.monotonic())
        if track.is_video:
            # A muted camera has a seat, but no frames to subscribe to yet.
            at = time.monotonic()
            self._people.show(track.identity, track.shows, muted=publication.muted, at=at)
        publication.set_subscribed(True)

    def _track_subscribed(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        found = _published(publication, participant)
        if found.track_id not in self._published:
            return
        now = time.monotonic()
        log.info("track_subscribed", track_id=found.track_id, participant=found.identity)
        self.subscribed_at = self.subscribed_at or now
        if found.is_video:
            pictures = self._people.show(found.identity, found.shows, muted=publication.muted, at=now)
            self._pumps.show(found.track_id, track, pictures)
        elif self._plan.audio is not None:
            if found.identity not in self._heard_order:
                self._heard_order.append(found.identity)
            number = self._heard_order.index(found.identity)
            channel = channel_of(self._plan.audio, found, number)
            self._pumps.hear(found.track_id, track, self._people.hear(found.track_id, channel))

    def _track_gone(self, publication: rtc.TrackPublication, participant: rtc.Participant) -> None:
        found = _published(publication, participant)
        if self._pumps.stop(found.track_id):
            log.info("track_gone", track_id=found.track_id, participant=found.identity)
        if not found.is_video:
            self._people.silence(found.track_id)

    def _track_unpublished(self, publication: rtc.TrackPublication, participant: rtc.Participant) -> None:
        self._track_gone(publication, participant)
        found = self._published.pop(publication.sid, None)
        if found is None:
            return
        remaining = [track for track in self._published.values() if track.identity == found.identity]
        if found.is_video and not any(track.is_video and track.shows is found.shows for track in remaining):
            self._people.hide(found.identity, found.shows)
        if not remaining:
            self._people.leave(found.identity)
        if not self._published and self._plan.kind in {Kind.TRACK, Kind.TRACK_COMPOSITE}:
            self._end_unless_tracks_return()

    def _participant_left(self, participant: rtc.RemoteParticipant) -> None:
        for track in [each for each in self._published.values() if each.identity == participant.identity]:
            del self._published[track.track_id]
            self._pumps.stop(track.track_id)
            self._people.silence(track.track_id)
        self._people.leave(participant.identity)
        if not self._published and self._plan.kind in {Kind.PARTICIPANT, Kind.TRACK, Kind.TRACK_COMPOSITE}:
            self._end_unless_tracks_return()

    def _end_unless_tracks_return(self) -> None:
        """End an egress of certain tracks when these are gone, at once unless the connection was lost."""
        if self._plan.kind not in {Kind.PARTICIPANT, Kind.TRACK, Kind.TRACK_COMPOSITE}:
            return
        lost = self._lost_at is not None and time.monotonic() - self._lost_at < _RETURN_SECONDS

        def end_if_gone() -> None:
            if not self._published:
                self._finish(Ending(EndReason.SOURCE_CLOSED))

        if not lost:
            end_if_gone()
        else:
            self._ending_later = asyncio.get_running_loop().call_later(_RETURN_SECONDS, end_if_gone)

    def _muted(self, participant: rtc.Participant, publication: rtc.TrackPublication, *, muted: bool) -> None:
        found = _published(publication, participant)
        if found.is_video and found.track_id in self._published:
            self._people.mute(found.identity, found.shows, muted=muted)

    def _speak(self, speakers: list[rtc.Participant]) -> None:
        self._people.speak({speaker.identity for speaker in speakers}, time.monotonic())

    def _read_layout(self, metadata: str) -> None:
        """LiveKit's server implements UpdateLayout by the metadata of the egress' participant."""
        try:
            layout = json.loads(metadata)["layout"]
        except (ValueError, KeyError, TypeError):
            log.warning("layout_not_understood", metadata=metadata[:200])
            return
        self._layout(str(layout))


def _published(publication: rtc.TrackPublication, participant: rtc.Participant) -> Published:
    return Published(
        track_id=publication.sid,
        identity=participant.identity,
        kind=participant.kind,
        is_video=publication.kind == rtc.TrackKind.KIND_VIDEO,
        source=publication.source,
        width=publication.width,
        height=publication.height,
    )
