"""A host application's evening with token-api: a stream from its draft to its end, told step by step.

    TOKEN_API_URL=https://api.example.com TOKEN_API_SERVICE_KEY=… \
    TOKEN_API_HOST_JWT_SECRET=… TOKEN_API_HOST_JWT_ISSUER=… TOKEN_API_HOST_JWT_AUDIENCE=… \
    python3 examples/host_application.py

It needs httpx and PyJWT. Its stream is removed at the end; the team member and the passes that it gave stay.
It ends with 1 where the service answers otherwise than this story goes.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt


class Unexpected(Exception):
    """The service answered otherwise than the story goes."""


class TokenApi:
    """A client of the service: as the host application, or as one of its users."""

    def __init__(self, url: str, bearer: str) -> None:
        self._client = httpx.Client(
            base_url=f"{url.rstrip('/')}/v1", headers={"Authorization": f"Bearer {bearer}"}, timeout=15
        )

    def __call__(self, method: str, path: str, body: Any = None, *, expect: int | str = 200) -> Any:
        """The JSON of an answer; `expect` is its status, or the end of its problem's type."""
        # The key makes it safe to send again what was not answered.
        headers = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
        answer = self._client.request(method, path, json=body, headers=headers)
        given: Any = answer.json() if answer.content else None
        problem = str(given["type"]).rpartition(":")[2] if given and answer.status_code >= 400 else None
        if expect not in {answer.status_code, problem}:
            raise Unexpected(f"{method} {path}: expected {expect}, got {answer.status_code} {answer.text}")
        return given


def user_jwt(user_id: str, name: str) -> str:
    """What the host application's pages give to a user who is signed in."""
    claims = {
        "iss": os.environ["TOKEN_API_HOST_JWT_ISSUER"],
        "aud": os.environ["TOKEN_API_HOST_JWT_AUDIENCE"],
        "sub": user_id,
        "name": name,
        "exp": int(time.time()) + 300,
    }
    return jwt.encode(claims, os.environ["TOKEN_API_HOST_JWT_SECRET"], algorithm="HS256")


def play(url: str, service_key: str) -> None:
    """The evening. Raises Unexpected."""
    host = TokenApi(url, service_key)
    evening = uuid.uuid4().hex[:8]
    space, creator_id, viewer_id, guest_id = (f"{who}-{evening}" for who in ("studio", "ada", "bob", "cleo"))
    creator = TokenApi(url, user_jwt(creator_id, "Ada"))
    moderator = TokenApi(url, user_jwt(f"grace-{evening}", "Grace"))
    viewer = TokenApi(url, user_jwt(viewer_id, "Bob"))
    latecomer = TokenApi(url, user_jwt(guest_id, "Cleo"))

    stream = host("POST", "/streams", _draft(creator_id, space), expect=201)
    path = f"/streams/{stream['id']}"
    host("PUT", f"/spaces/{space}/team/grace-{evening}", {"role": "moderator"}, expect=201)
    say(f"a draft, {stream['id']}, with Grace in the team")

    live = creator("POST", f"{path}/go-live")
    say(f"live, in the room {live['room_name']}")
    viewer("POST", f"{path}/video-token", expect="not-found")
    say("to Bob, who has not paid, there is no such stream")

    grant = host("POST", "/access-grants", _pass(viewer_id, stream["id"]), expect=201)
    for name, who, role in (
        ("Ada", creator, "creator"),
        ("Grace", moderator, "team"),
        ("Bob", viewer, "viewer"),
    ):
        token = who("POST", f"{path}/video-token", expect=201)
        if token["role"] != role:
            raise Unexpected(f"{name} is {token['role']}, not {role}")
        say(f"{name} joins {token['server_url']} as {role}, until {token['expires_at']}")

    viewer("POST", f"{path}/chat/messages", {"text": "Hello from Bob"}, expect=201)
    messages = creator("GET", f"{path}/chat/messages")["items"]
    say(f"Ada reads: {messages[0]['text']!r}")

    host("POST", f"/access-grants/{grant['id']}/cancel")
    viewer("POST", f"{path}/video-token", expect="grant-cancelled")
    say("Bob had his money back: his pass is cancelled, and he is out")

    host("POST", "/access-grants", _pass(guest_id, stream["id"]), expect=201)
    moderator("POST", f"{path}/bans", {"user_id": guest_id, "duration_seconds": 60}, expect=201)
    latecomer("POST", f"{path}/video-token", expect="banned")
    say("Cleo is banned by Grace, whatever Cleo paid")

    creator("POST", f"{path}/end")
    creator("POST", f"{path}/video-token", expect="stream-not-live")
    host("DELETE", path, expect=204)
    say("over: the room is gone, and so is the stream")


def _draft(owner_id: str, space_id: str) -> dict[str, Any]:
    return {"title": "Watercolours", "owner_id": owner_id, "space_id": space_id, "capacity": 100}


def _pass(user_id: str, stream_id: str) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(hours=2)
    return {"user_id": user_id, "scope": "stream", "scope_id": stream_id, "expires_at": until.isoformat()}


def say(step: str) -> None:
    print(f"- {step}", flush=True)


def main() -> int:
    """Play the evening; the exit code."""
    try:
        play(os.environ["TOKEN_API_URL"], os.environ["TOKEN_API_SERVICE_KEY"])
    except (Unexpected, httpx.HTTPError) as error:
        print(f"not as it should be: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"{error.args[0]} is not set; the beginning of this file says what is needed", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
