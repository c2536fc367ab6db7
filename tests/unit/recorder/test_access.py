"""How the recorder enters a room."""

from __future__ import annotations

import jwt

from recorder.access import room_token

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


def test_the_recorder_is_a_hidden_egress_that_publishes_nothing() -> None:
    claims = jwt.decode(room_token("EG_1", "daily", "key", SECRET), SECRET, algorithms=["HS256"])
    assert (claims["iss"], claims["sub"], claims["kind"]) == ("key", "EG_1", "egress")
    # As livekit/protocol, `egress/token.go`.
    assert claims["video"] == {
        "roomJoin": True,
        "room": "daily",
        "canSubscribe": True,
        "canPublish": False,
        "canPublishData": False,
        "hidden": True,
        "recorder": True,
    }
    # A recorder whose SFU is replaced after days comes back with the same token.
    assert claims["exp"] - claims["nbf"] >= 7 * 86_400
