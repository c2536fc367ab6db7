"""psrpc's messages and channels, compared with what livekit/psrpc makes of them."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from recorder.psrpc.methods import Method, channel
from recorder.psrpc.wire import ClaimRequest, Msg, Request, pack, unpack
from recorder.requests.rpc import ListActiveEgressResponse, StartEgressRequest


@pytest.mark.parametrize(
    ("method", "requests", "choices"),
    [
        (
            Method("EgressInternal", "StartEgress"),
            "EgressInternal|StartEgress|REQ",
            "EgressInternal|StartEgress|RCLAIM",
        ),
        (
            Method("EgressHandler", "StopEgress", topic="EG_1"),
            "EgressHandler|StopEgress|EG_1|REQ",
            "EgressHandler|StopEgress|EG_1|RCLAIM",
        ),
    ],
)
def test_channels_of_methods(method: Method, requests: str, choices: str) -> None:
    assert (method.requests, method.choices) == (requests, choices)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        # From psrpc's own test (`pkg/info/channels_test.go`), with its delimiter for Redis.
        (("🚀_É", "🛰_bar", "软件", "END"), "U+0001f680_u+00c9|U+0001f6f0_bar|u+8f6fu+4ef6|END"),
        (("a", "", "b"), "a|b"),
        (("a-b.c",), "au+002dbu+002ec"),
    ],
)
def test_other_characters_are_escaped(parts: tuple[str, ...], name: str) -> None:
    assert channel(*parts) == name


def test_a_message_travels_with_its_type() -> None:
    sent = Request(request_id="REQ_1", client_id="CLI_1", sent_at=1, expiry=2, raw_request=b"x")
    packed = pack(sent)
    assert Msg.FromString(packed).type_url == "type.googleapis.com/internal.Request"
    assert unpack(Request, packed) == sent
    with pytest.raises(DecodeError):
        unpack(Request, b"\xff\xff")


def test_messages_have_the_bytes_of_protobuf() -> None:
    """Field numbers and wire types, written down by hand from the .proto files."""
    assert ClaimRequest(request_id="a", server_id="b", affinity=0.5).SerializeToString() == (
        b"\x0a\x01a\x12\x01b\x1d\x00\x00\x00\x3f"
    )
    assert Request(multi=True, expiry=300, raw_request=b"x").SerializeToString() == (
        b"\x20\xac\x02\x28\x01\x42\x01x"
    )
    assert StartEgressRequest(estimated_cpu=1.0, retry_count=-1).SerializeToString() == (
        b"\x71\x00\x00\x00\x00\x00\x00\xf0\x3f\x78" + b"\xff" * 9 + b"\x01"
    )
    assert ListActiveEgressResponse(egress_ids=["a", "b"]).SerializeToString() == b"\x0a\x01a\x0a\x01b"


def test_a_request_has_one_kind() -> None:
    given = StartEgressRequest(room_composite=b"a")
    assert given.WhichOneof("request") == "room_composite"
    given.track = b""
    assert given.WhichOneof("request") == "track"
    assert given.room_composite == b""
    assert StartEgressRequest().WhichOneof("request") is None


def test_unknown_fields_are_kept() -> None:
    newer = b"\x0a\x04EG_1\xfa\x07\x01z"
    assert StartEgressRequest.FromString(newer).SerializeToString() == newer
