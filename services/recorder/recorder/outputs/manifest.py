"""The manifest: a JSON file beside the outputs that lists them.

Facts: livekit/egress v1.14, `pkg/config/manifest.go`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recorder.requests.kinds import Kind
from recorder.requests.plan import Plan, RoomFacts
from recorder.requests.sources import OneParticipant, OneTrack

# An object in the bucket, by key and location. Keys are without the configured prefix.
Saved = tuple[str, str]


@dataclass
class Manifest:
    """What was saved. `started_at` is in nanoseconds since 1970."""

    plan: Plan
    facts: RoomFacts
    started_at: int
    _files: list[Mapping[str, object]] = field(default_factory=list, init=False)
    _playlists: list[Mapping[str, object]] = field(default_factory=list, init=False)
    _images: list[Mapping[str, object]] = field(default_factory=list, init=False)

    def add_file(self, key: str, location: str) -> None:
        """A recording."""
        self._files.append({"filename": key, "location": location})

    def add_playlist(self, location: str, segments: Iterable[Saved]) -> None:
        """A playlist and its segments."""
        listed = [{"filename": key, "location": place} for key, place in segments]
        self._playlists.append(_without_empty({"location": location, "segments": listed}))

    def add_image(self, key: str, location: str, moment: datetime) -> None:
        """A thumbnail of a moment in UTC."""
        stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._images.append({"filename": key, "timestamp": stamp, "location": location})

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


def _without_empty(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value}


def _identity(plan: Plan) -> str:
    return plan.video.identity if isinstance(plan.video, OneParticipant) else ""


def _video_track(plan: Plan) -> str:
    return plan.video.track_id if isinstance(plan.video, OneTrack) else ""


def _audio_track(plan: Plan) -> str:
    routes = plan.audio.routes if plan.audio is not None else ()
    return next((route.track_id for route in routes if route.track_id), "")
