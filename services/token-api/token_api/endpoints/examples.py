"""One example of each body, for the OpenAPI document: they tell the story of docs/api.md.

`tests/unit/token_api/test_examples.py` holds them true: each is valid, and no body is without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from token_api.endpoints.access import GrantRequest, GrantView, MemberRequest, MemberView, Team
from token_api.endpoints.analytics import AnalyticsResponse
from token_api.endpoints.bans import BanRequest, BanView
from token_api.endpoints.chat import (
    ChatTokenRequest,
    ChatTokenResponse,
    MessageRequest,
    MessageView,
    SettingsChange,
    SettingsView,
)
from token_api.endpoints.participants import (
    MuteRequest,
    MuteResponse,
    PermissionsRequest,
    PermissionsResponse,
)
from token_api.endpoints.recordings import (
    RecordingChange,
    RecordingRequest,
    RecordingUrl,
    RecordingView,
)
from token_api.endpoints.stage import StageRequestView
from token_api.endpoints.streams import StreamChange, StreamRequest, StreamView
from token_api.endpoints.telemetry import TelemetryRequest
from token_api.endpoints.token import TokenRequest, TokenResponse
from token_api.endpoints.video import StreamInfoResponse, VideoTokenRequest, VideoTokenResponse
from token_api.endpoints.webhook_endpoints import (
    DeliveryView,
    EndpointChanges,
    EndpointRequest,
    EndpointView,
    EndpointWithSecret,
    Rotation,
)

_STREAM = "6f9f5c0e-7d0c-4a52-9d0f-0d8a5d1b2c3e"
_SESSION = "b1c7a3de-2f64-4d0b-8a53-5b0c8d9e7f10"
_RECORDING = "0e4d6b58-93c1-4f7e-a1d2-c3b4a5968778"
_ROOM = f"stream_{_STREAM}_5b0c8d9e7f10"
_SERVER = "wss://sfu.example.com"
_TOKEN = "eyJhbGciOiJIUzI1NiJ9.…"  # noqa: S105 (it is none)

_TRACK = {"sid": "TR_AMbKuUpzn2mGtT", "source": "microphone", "kind": "audio", "muted": True}
_MEMBER = {
    "space_id": "studio",
    "user_id": "grace",
    "role": "moderator",
    "created_at": "2026-05-04T17:00:00Z",
}
_ENDPOINT = {
    "id": "d2a1c0b9-8e7f-4d6c-9b5a-4f3e2d1c0b9a",
    "url": "https://www.example.com/livekit-events",
    "description": "the shop",
    "event_types": ["grant.expired", "stream.live"],
    "enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "paused_until": None,
    "created_at": "2026-05-04T16:00:00Z",
    "updated_at": "2026-05-04T16:00:00Z",
}

EXAMPLES: Mapping[type[BaseModel], Mapping[str, Any]] = {
    StreamRequest: {
        "title": "Watercolours",
        "owner_id": "ada",
        "space_id": "studio",
        "capacity": 100,
        "metadata": {"cover": "sea"},
        "record": True,
        "record_layout": "speaker-light",
    },
    StreamChange: {"title": "Watercolours, part two", "status": "paused"},
    StreamView: {
        "id": _STREAM,
        "kind": "stream",
        "title": "Watercolours",
        "owner_id": "ada",
        "space_id": "studio",
        "experience_id": None,
        "metadata": {"cover": "sea"},
        "capacity": 100,
        "status": "live",
        "room_name": _ROOM,
        "started_at": "2026-05-04T18:00:00Z",
        "ended_at": None,
        "created_at": "2026-05-04T17:00:00Z",
        "updated_at": "2026-05-04T18:00:00Z",
        "version": 2,
        "chat_enabled": True,
        "chat_slow_mode_seconds": 0,
        "record": True,
        "record_layout": "speaker-light",
        "recording": {"state": "active", "recording_id": _RECORDING},
    },
    VideoTokenRequest: {"ttl_seconds": 600, "participant_name": "Bob"},
    VideoTokenResponse: {
        "server_url": _SERVER,
        "participant_token": _TOKEN,
        "room_name": _ROOM,
        "identity": "u:bob",
        "role": "viewer",
        "expires_at": "2026-05-04T18:15:00Z",
    },
    TokenRequest: {
        "room_name": "lobby",
        "participant_identity": "user-17",
        "participant_name": "Bob",
        "role": "publisher",
        "ttl_seconds": 60,
    },
    TokenResponse: {"server_url": _SERVER, "participant_token": _TOKEN},
    StreamInfoResponse: {
        "id": _STREAM,
        "title": "Watercolours",
        "kind": "stream",
        "status": "live",
        "metadata": {"cover": "sea"},
        "started_at": "2026-05-04T18:00:00Z",
        "viewer_count": 42,
        "capacity": 100,
        "role": "viewer",
        "connection": {
            "server_url": _SERVER,
            "room_name": _ROOM,
            "identity": "u:bob",
            "token_path": f"/v1/streams/{_STREAM}/video-token",
            "can_publish": False,
            "publish_sources": [],
            "can_publish_data": False,
        },
        "chat_enabled": True,
        "chat_slow_mode_seconds": 0,
        "chat_max_length": 500,
        "chat_messages_path": f"/v1/streams/{_STREAM}/chat/messages",
        "chat_token_path": f"/v1/streams/{_STREAM}/chat-token",
    },
    GrantRequest: {
        "user_id": "bob",
        "scope": "stream",
        "scope_id": _STREAM,
        "expires_at": "2026-05-05T18:00:00Z",
    },
    GrantView: {
        "id": "3c5e7a90-1b2d-4f6a-8c9e-0d1f2a3b4c5d",
        "user_id": "bob",
        "scope": "stream",
        "scope_id": _STREAM,
        "status": "active",
        "starts_at": None,
        "expires_at": "2026-05-05T18:00:00Z",
        "cancelled_at": None,
        "created_at": "2026-05-04T17:30:00Z",
    },
    MemberRequest: {"role": "moderator"},
    MemberView: _MEMBER,
    Team: {"items": [_MEMBER]},
    BanRequest: {"user_id": "bob", "duration_seconds": 3600, "reason": "spam"},
    BanView: {
        "id": "9a8b7c6d-5e4f-4a3b-8c1d-0e9f8a7b6c5d",
        "user_id": "bob",
        "scope": "stream",
        "reason": "spam",
        "banned_by": "grace",
        "by_host": False,
        "created_at": "2026-05-04T18:10:00Z",
        "until": "2026-05-04T19:10:00Z",
        "lifted_at": None,
    },
    MuteRequest: {"track_sid": _TRACK["sid"]},
    MuteResponse: {"tracks": [_TRACK]},
    PermissionsRequest: {"role": "guest"},
    PermissionsResponse: {"identity": "u:bob", "role": "guest"},
    StageRequestView: {
        "id": "7b6a5948-3726-4150-9f8e-7d6c5b4a3928",
        "user_id": "bob",
        "state": "waiting",
        "created_at": "2026-05-04T18:05:00Z",
        "decided_at": None,
        "decided_by": None,
    },
    ChatTokenRequest: {"name": "Bob"},
    ChatTokenResponse: {
        "provider": "builtin",
        "token": _TOKEN,
        "user_id": "bob",
        "role": "viewer",
        "expires_at": "2026-05-04T18:15:00Z",
        "exp": 1777918500,
        "messages_path": f"/v1/streams/{_STREAM}/chat/messages",
        "api_key": None,
        "channel_type": None,
        "channel_id": None,
    },
    MessageRequest: {"text": "Which paper is that?", "name": "Bob"},
    MessageView: {
        "id": "5f4e3d2c-1b0a-4998-8776-655443322110",
        "sequence": 17,
        "revision": 19,
        "user_id": "bob",
        "name": "Bob",
        "role": "viewer",
        "text": "Which paper is that?",
        "sent_at": "2026-05-04T18:04:00Z",
        "deleted": False,
    },
    SettingsChange: {"slow_mode_seconds": 10},
    SettingsView: {"enabled": True, "slow_mode_seconds": 10, "max_length": 500},
    RecordingRequest: {"layout": "speaker"},
    RecordingChange: {"layout": "grid"},
    RecordingView: {
        "id": _RECORDING,
        "stream_id": _STREAM,
        "session_id": _SESSION,
        "status": "complete",
        "layout": "grid",
        "error": "",
        "has_file": True,
        "size_bytes": 734003200,
        "duration_seconds": 3540,
        "requested_by": "user:ada",
        "created_at": "2026-05-04T18:00:30Z",
        "started_at": "2026-05-04T18:00:34Z",
        "stop_requested_at": "2026-05-04T18:59:34Z",
        "ended_at": "2026-05-04T18:59:51Z",
        "updated_at": "2026-05-04T18:59:51Z",
    },
    RecordingUrl: {
        "url": f"https://s3.example.com/recordings/recordings/{_STREAM}/{_SESSION}/{_RECORDING}.mp4?X-Amz-…",
        "file_name": "Watercolours-20260504-180034.mp4",
        "expires_at": "2026-05-04T20:05:00Z",
    },
    TelemetryRequest: {
        "samples": [
            {
                "age_seconds": 2.5,
                "rtt_ms": 48,
                "packet_loss": 0.004,
                "freezes": 0,
                "freeze_ms": 0,
                "bitrate_kbps": 1800,
                "frames_per_second": 30,
                "frame_height": 720,
            }
        ],
        "join_failures": ["ice"],
    },
    AnalyticsResponse: {
        "stream_id": _STREAM,
        "at": "2026-05-04T20:00:00Z",
        "unique_viewers": 2,
        "peak_viewers": 2,
        "watch_seconds": 5400,
        "join_failures": {"room-full": 1},
        "sessions": [
            {
                "session_id": _SESSION,
                "opened_at": "2026-05-04T18:00:00Z",
                "closed_at": "2026-05-04T19:00:00Z",
                "viewers_now": 0,
                "unique_viewers": 2,
                "peak_viewers": 2,
                "watch_seconds": 5400,
                "join_failures": {"room-full": 1},
                "viewers": [
                    {"at": "2026-05-04T18:00:00Z", "viewers": 1},
                    {"at": "2026-05-04T18:30:00Z", "viewers": 2},
                    {"at": "2026-05-04T19:00:00Z", "viewers": 0},
                ],
                "quality": {"rtt_ms": {"samples": 1080, "p50": 48, "p95": 120, "p99": 210}},
            }
        ],
    },
    EndpointRequest: {
        "url": _ENDPOINT["url"],
        "description": _ENDPOINT["description"],
        "event_types": _ENDPOINT["event_types"],
    },
    EndpointChanges: {"enabled": True},
    Rotation: {"both_for_seconds": 86400},
    EndpointView: _ENDPOINT,
    EndpointWithSecret: {**_ENDPOINT, "secret": "whsec_…"},
    DeliveryView: {
        "id": "1f2e3d4c-5b6a-4798-8897-a6b5c4d3e2f1",
        "message_id": "c0ffee00-0000-4000-8000-000000000001",
        "event_type": "stream.live",
        "state": "waiting",
        "attempts": 1,
        "next_attempt_at": "2026-05-04T18:00:06Z",
        "last_status": 500,
        "last_error": None,
        "created_at": "2026-05-04T18:00:00Z",
        "delivered_at": None,
    },
}
