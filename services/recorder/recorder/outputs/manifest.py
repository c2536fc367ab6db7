"""The manifest: a JSON file beside the outputs that lists them.

Facts: livekit/egress v1.14, `pkg/config/manifest.go`.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from livekit.protocol import egress as proto

from recorder.requests.kinds import Kind
from recorder.requests.outputs import FileOutput, ImageOutput, Output, SegmentOutput
from recorder.requests.plan import Plan, RoomFacts
from recorder.requests.sources import OneParticipant, OneTrack
from recorder.storage.upload_events import ContentType


@dataclass(frozen=True)
class ListedObject:
    """An object in the bucket. Its key is without the configured prefix."""

    key: str
    location: str
    content_type: ContentType


def manifest_key(output: Output, egress_id: str) -> str:
    """The key of an output's manifest: in the directory of the output's objects."""
    match output:
        case FileOutput():
            directory = posixpath.dirname(output.key)
        case SegmentOutput() | ImageOutput():
            directory = output.names.directory
        case _:
            directory = ""
    return posixpath.join(directory, f"{egress_id}.json")


def wants_manifest(output: Output) -> bool:
    """Whether the request asks for the output's manifest."""
    return isinstance(output, FileOutput | SegmentOutput | ImageOutput) and output.manifest


def ended_at_of(info: proto.EgressInfo) -> int:
    """When the recording of an egress ended, in nanoseconds since 1970; 0 if its report does not say so."""
    ends = [
        *(each.ended_at for each in info.file_results),
        *(each.ended_at for each in info.segment_results),
        *(each.ended_at for each in info.image_results),
    ]
    return max(ends, default=0) or info.ended_at


@dataclass
class Manifest:
    """What was saved. `started_at` is in nanoseconds since 1970."""

    plan: Plan
    facts: RoomFacts
    started_at: int
    _files: list[Mapping[str, object]] = field(default_factory=list, init=False)
    _playlists: list[Mapping[str, object]] = field(default_factory=list, init=False)
    _images: list[Mapping[str, object]] = field(default_factory=list, init=False)

    def add_output(
        self,
        output: Output,
        objects: Sequence[ListedObject],
        moments: Sequence[tuple[str, datetime]] | None = None,
    ) -> None:
        """List the objects of an output.

        Args:
            objects: those that are in the bucket, in their order.
            moments: of images, by key, in UTC. An image that was overwritten is in it several times. None if
                they are not known: then each image is listed once, without its time.
        """
        locations = {each.key: each.location for each in objects}
        match output:
            case FileOutput() as file:
                if file.key in locations:
                    self._files.append({"filename": file.key, "location": locations[file.key]})
            case SegmentOutput(names=names):
                segments = [
                    {"filename": each.key, "location": each.location}
                    for each in objects
                    if each.content_type is ContentType.MPEG_TS
                ]
                playlist = locations.get(names.directory + names.playlist, "")
                self._playlists.append(_without_empty({"location": playlist, "segments": segments}))
            case ImageOutput():
                if moments is None:
                    images = [each for each in objects if each.content_type is ContentType.JPEG]
                    self._images += [{"filename": each.key, "location": each.location} for each in images]
                    return
                self._images += [
                    {"filename": key, "timestamp": _stamp(moment), "location": locations[key]}
                    for key, moment in moments
                    if key in locations
                ]

    def text(self, ended_at: int) -> str:
        """The JSON. Empty fields are left out; times are nanoseconds since 1970."""
        plan, known = self.plan, self.facts.values
        composite = plan.kind is Kind.TRACK_COMPOSITE
        values = {
            "egress_id": plan.egress_id,
            "room_id": plan.room_id,
            "room_name": plan.room_name,
            "started_at": self.started_at,
            "ended_at": ended_at,
            "publisher_identity": _identity(plan) or known.get("publisher_identity", ""),
            "track_id": known.get("track_id", ""),
            "track_kind": known.get("track_type", ""),
            "track_source": known.get("track_source", ""),
            "audio_track_id": _audio_track(plan) if composite else "",
            "video_track_id": _video_track(plan) if composite or plan.kind is Kind.MEDIA else "",
            "files": self._files,
            "playlists": self._playlists,
            "images": self._images,
        }
        return json.dumps(_without_empty(values), ensure_ascii=False) + "\n"


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_empty(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value}


def _identity(plan: Plan) -> str:
    return plan.video.identity if isinstance(plan.video, OneParticipant) else ""


def _video_track(plan: Plan) -> str:
    return plan.video.track_id if isinstance(plan.video, OneTrack) else ""


def _audio_track(plan: Plan) -> str:
    routes = plan.audio.routes if plan.audio is not None else ()
    return next((route.track_id for route in routes if route.track_id), "")
