"""Who may do what, for every operation that the service has: a new one is in this table, or a test fails."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import httpx
import jsonschema
import pytest
from livekit.protocol import models as proto

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.test_moderation import admit


class May(Enum):
    """Who may, beside the host application. To a user whom nothing connects with a stream, there is none."""

    NO_USER = "no user"
    STEERING = "its owner and its team"
    INSIDE = "whoever gets into the stream"
    ANY_USER = "any user, each for themselves"


# In an order in which one stream lives through all of them.
OPERATIONS: dict[tuple[str, str], May] = {
    ("POST", "/v1/token"): May.INSIDE,
    ("DELETE", "/v1/rooms/{room_name}"): May.NO_USER,
    ("POST", "/v1/streams"): May.ANY_USER,
    ("GET", "/v1/streams"): May.ANY_USER,
    ("GET", "/v1/streams/{stream_id}"): May.INSIDE,
    ("PATCH", "/v1/streams/{stream_id}"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/go-live"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/pause"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/resume"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/video-token"): May.INSIDE,
    ("POST", "/v1/streams/{stream_id}/chat-token"): May.INSIDE,
    ("GET", "/v1/streams/{stream_id}/stream-info"): May.INSIDE,
    ("GET", "/v1/streams/{stream_id}/chat/messages"): May.INSIDE,
    ("POST", "/v1/streams/{stream_id}/chat/messages"): May.INSIDE,
    # Of somebody else; one's own may be deleted by whoever wrote it.
    ("DELETE", "/v1/streams/{stream_id}/chat/messages/{message_id}"): May.STEERING,
    ("PATCH", "/v1/streams/{stream_id}/chat/settings"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/telemetry"): May.INSIDE,
    ("GET", "/v1/streams/{stream_id}/analytics"): May.STEERING,
    ("GET", "/v1/streams/{stream_id}/participants"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/participants/{identity}/mute"): May.STEERING,
    ("PATCH", "/v1/streams/{stream_id}/participants/{identity}/permissions"): May.STEERING,
    ("DELETE", "/v1/streams/{stream_id}/participants/{identity}"): May.STEERING,
    ("GET", "/v1/streams/{stream_id}/bans"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/bans"): May.STEERING,
    ("GET", "/v1/streams/{stream_id}/bans/{ban_id}"): May.STEERING,
    ("DELETE", "/v1/streams/{stream_id}/bans/{ban_id}"): May.STEERING,
    ("GET", "/v1/streams/{stream_id}/stage/requests"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/stage/requests"): May.INSIDE,
    ("POST", "/v1/streams/{stream_id}/stage/requests/{request_id}/accept"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/stage/requests/{request_id}/decline"): May.STEERING,
    # Of somebody else; one's own hand may be lowered by whoever raised it.
    ("DELETE", "/v1/streams/{stream_id}/stage/requests/{request_id}"): May.STEERING,
    ("GET", "/v1/streams/{stream_id}/recordings"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/recordings"): May.STEERING,
    ("GET", "/v1/recordings/{recording_id}"): May.STEERING,
    ("PATCH", "/v1/recordings/{recording_id}"): May.STEERING,
    ("POST", "/v1/recordings/{recording_id}/stop"): May.STEERING,
    ("GET", "/v1/recordings/{recording_id}/url"): May.STEERING,
    ("DELETE", "/v1/recordings/{recording_id}"): May.STEERING,
    ("POST", "/v1/streams/{stream_id}/end"): May.STEERING,
    ("DELETE", "/v1/streams/{stream_id}"): May.STEERING,
    ("GET", "/v1/access-grants"): May.NO_USER,
    ("POST", "/v1/access-grants"): May.NO_USER,
    ("GET", "/v1/access-grants/{grant_id}"): May.NO_USER,
    ("POST", "/v1/access-grants/{grant_id}/cancel"): May.NO_USER,
    ("GET", "/v1/spaces/{space_id}/team"): May.NO_USER,
    ("PUT", "/v1/spaces/{space_id}/team/{user_id}"): May.NO_USER,
    ("DELETE", "/v1/spaces/{space_id}/team/{user_id}"): May.NO_USER,
    ("GET", "/v1/webhook-endpoints"): May.NO_USER,
    ("POST", "/v1/webhook-endpoints"): May.NO_USER,
    ("GET", "/v1/webhook-endpoints/{endpoint_id}"): May.NO_USER,
    ("PATCH", "/v1/webhook-endpoints/{endpoint_id}"): May.NO_USER,
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret"): May.NO_USER,
    ("GET", "/v1/webhook-endpoints/{endpoint_id}/deliveries"): May.NO_USER,
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/redeliver"): May.NO_USER,
    ("DELETE", "/v1/webhook-endpoints/{endpoint_id}"): May.NO_USER,
}
# They have callers of their own: operators, and LiveKit by its signature.
OTHERS = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/v1/webhooks/livekit"),
}
# The host application needs X-On-Behalf-Of for these.
ALWAYS_FOR_A_USER = {
    ("POST", "/v1/streams/{stream_id}/video-token"),
    ("POST", "/v1/streams/{stream_id}/chat-token"),
    ("GET", "/v1/streams/{stream_id}/stream-info"),
    ("POST", "/v1/streams/{stream_id}/chat/messages"),
    ("POST", "/v1/streams/{stream_id}/telemetry"),
    ("POST", "/v1/streams/{stream_id}/stage/requests"),
}
OTHER_SPACE = "other-space"
_TEXT = {"text": "hello"}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PATCH", "/v1/streams/{stream_id}"): {"title": "Another"},
    ("POST", "/v1/streams/{stream_id}/video-token"): {},
    ("POST", "/v1/streams/{stream_id}/chat-token"): {},
    ("POST", "/v1/streams/{stream_id}/chat/messages"): _TEXT,
    ("PATCH", "/v1/streams/{stream_id}/chat/settings"): {"max_length": 100},
    ("POST", "/v1/streams/{stream_id}/telemetry"): {"samples": [{"rtt_ms": 1}]},
    ("POST", "/v1/streams/{stream_id}/participants/{identity}/mute"): {},
    ("PATCH", "/v1/streams/{stream_id}/participants/{identity}/permissions"): {"role": "guest"},
    ("POST", "/v1/streams/{stream_id}/bans"): {"user_id": "somebody"},
    ("POST", "/v1/streams/{stream_id}/recordings"): {},
    ("PATCH", "/v1/recordings/{recording_id}"): {"layout": "grid"},
    ("POST", "/v1/access-grants"): {"user_id": "somebody", "scope": "space", "scope_id": "space"},
    ("PUT", "/v1/spaces/{space_id}/team/{user_id}"): {},
    ("POST", "/v1/webhook-endpoints"): {"url": "http://127.0.0.1:9/"},
    ("PATCH", "/v1/webhook-endpoints/{endpoint_id}"): {"description": "Another"},
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret"): {},
}


@pytest.fixture(autouse=True)
def settings_of_the_table(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")
    environment.setenv("TOKEN_API_WEBHOOK_ALLOW", "127.0.0.0/8")


@dataclass(frozen=True)
class World:
    """A live stream with one of each thing that a path names."""

    api: Api
    ids: dict[str, str]
    room: str

    async def ask(self, operation: tuple[str, str], who: str, *, by_host: bool = False) -> httpx.Response:
        """Send the request as `who`: creator, team, viewer or stranger of this world, or "host".

        Args:
            by_host: the host application sends it on behalf of `who`.
        """
        method, path = operation
        body = BODIES.get(operation)
        if path == "/v1/token":
            body = {"room_name": self.room}
            if who == "host":
                body = {"room_name": "lobby", "participant_identity": "bot"}
        if operation == ("POST", "/v1/streams"):
            body = {"title": "Mine", "space_id": OTHER_SPACE}
            if who == "host":
                body["owner_id"] = "creator"
        headers = self.api.user(who)
        if who == "host":
            headers = self.api.service("viewer" if operation in ALWAYS_FOR_A_USER else None)
        elif by_host:
            headers = self.api.service(who)
        return await self.api.client.request(
            method,
            path.format(**self.ids),
            headers=headers,
            json=body,
        )


async def world(api: Api) -> World:
    stream_id = await api.live_stream()
    path = f"/streams/{stream_id}"
    room = await admit(api, stream_id, "creator", grant=False)
    await admit(api, stream_id, "viewer")
    await admit(api, stream_id, "guest")
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    grant_id = await api.grant("somebody", "stream", stream_id)
    await api.call("PUT", "/spaces/space/team/team", json={}, status=201)
    for_creator = api.user("creator")
    message = await api.call("POST", f"{path}/chat/messages", for_creator, 201, json=_TEXT)
    ban = await api.call("POST", f"{path}/bans", for_creator, 201, json={"user_id": "nobody"})
    request = await api.call("POST", f"{path}/stage/requests", api.user("guest"), 201)
    recording = await api.call("POST", f"{path}/recordings", for_creator, 202, json={})
    api.livekit.join_recorder(next(iter(api.livekit.egresses)))
    # Of an event that does not happen here: nobody listens.
    wanted = {"url": "http://127.0.0.1:9/", "event_types": ["stream.failed"]}
    endpoint = await api.call("POST", "/webhook-endpoints", status=201, json=wanted)
    return World(
        api,
        {
            "stream_id": stream_id,
            "room_name": "lobby",
            "identity": "u:viewer",
            "message_id": message["id"],
            "ban_id": ban["id"],
            "request_id": request["id"],
            "recording_id": recording["id"],
            "grant_id": grant_id,
            "space_id": "space",
            "user_id": "team",
            "endpoint_id": endpoint["id"],
            "delivery_id": "00000000-0000-4000-8000-000000000000",
        },
        room,
    )


async def test_the_table_has_every_operation(api: Api) -> None:
    document = (await api.client.get("/v1/openapi.json")).json()
    found = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    assert found - OTHERS == set(OPERATIONS)


@pytest.mark.parametrize("by_host", [False, True], ids=["themselves", "on-behalf"])
async def test_who_may_not_is_told_so_or_that_there_is_nothing(api: Api, by_host: bool) -> None:
    """Nothing changes, so that one stream is enough for all.

    The host application, on behalf of a user, may do no more than that user. It knows all streams, so it is
    told that a stranger has no grant.
    """
    here = await world(api)
    unknown = (403, "no-grant") if by_host else (404, "not-found")
    wrong = {}
    for operation, may in OPERATIONS.items():
        wanted: dict[str, tuple[int, str]] = {}
        if may is May.NO_USER:
            wanted = dict.fromkeys(("creator", "team", "viewer", "stranger"), (403, "role-forbidden"))
        elif may is May.STEERING:
            wanted = {"viewer": (403, "role-forbidden"), "stranger": unknown}
        elif may is May.INSIDE:
            wanted = {"stranger": unknown}
        elif operation == ("POST", "/v1/streams"):
            wanted = dict.fromkeys(("viewer", "stranger"), (403, "role-forbidden"))
        for who, refusal in wanted.items():
            response = await here.ask(operation, who, by_host=by_host)
            if response.status_code < 400 or problem(response) != refusal:
                wrong[who, operation] = f"{response.status_code} {response.text}"
    assert wrong == {}


@pytest.mark.parametrize("by_host", [False, True], ids=["themselves", "on-behalf"])
@pytest.mark.parametrize(
    ("who", "what"),
    [
        ("creator", {May.STEERING, May.INSIDE, May.ANY_USER}),
        ("team", {May.STEERING, May.INSIDE, May.ANY_USER}),
        ("viewer", {May.INSIDE}),
    ],
)
async def test_who_may_is_let_through(api: Api, who: str, what: set[May], by_host: bool) -> None:
    """What is refused here for its state is not refused for who asks."""
    here = await world(api)
    await api.call("PUT", f"/spaces/{OTHER_SPACE}/team/{who}", json={}, status=201)
    wrong = {}
    for operation, may in OPERATIONS.items():
        if may in what:
            response = await here.ask(operation, who, by_host=by_host)
            if response.status_code not in {200, 201, 202, 204, 409}:
                wrong[operation] = f"{response.status_code} {response.text}"
    assert wrong == {}


# What cannot be had of this one stream: the hand is decided, and the recording goes on, and has no file.
NOT_NOW = {
    ("POST", "/v1/streams/{stream_id}/recordings"): 409,
    ("DELETE", "/v1/recordings/{recording_id}"): 409,
    ("POST", "/v1/streams/{stream_id}/stage/requests"): 409,
    ("POST", "/v1/streams/{stream_id}/stage/requests/{request_id}/decline"): 409,
    ("DELETE", "/v1/streams/{stream_id}/stage/requests/{request_id}"): 409,
    ("GET", "/v1/recordings/{recording_id}/url"): 409,
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/redeliver"): 404,
}


async def test_the_host_may_all_and_is_answered_as_the_document_says(api: Api) -> None:
    """What schemathesis makes up seldom is what succeeds: here everything does."""
    here = await world(api)
    document = (await api.client.get("/v1/openapi.json")).json()
    for operation in OPERATIONS:
        response = await here.ask(operation, "host")
        method, path = operation
        said = f"{method} {path}: {response.status_code} {response.text}"
        assert response.status_code == NOT_NOW.get(operation, response.status_code), said
        assert response.status_code < 300 or operation in NOT_NOW, said
        documented = document["paths"][path][method.lower()]["responses"][str(response.status_code)]
        if not response.content:
            assert "content" not in documented, operation
            continue
        media_type = response.headers["content-type"].partition(";")[0]
        schema = documented["content"][media_type]["schema"]
        jsonschema.validate(response.json(), {**schema, "components": document["components"]})
