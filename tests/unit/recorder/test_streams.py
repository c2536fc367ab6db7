"""Addresses of RTMP servers, and their stream keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import Code, EgressError
from recorder.requests.outputs import StreamTarget, stream_target

MIDDLES = st.text("ab01-_=&.", min_size=3)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        # From livekit/egress' own test (`pkg/config/urls_test.go`).
        ("rtmp://localhost:1935/live/streamkey", "rtmp://localhost:1935/live/{str...key}"),
        ("rtmps://localhost:1935/live/streamkey", "rtmps://localhost:1935/live/{str...key}"),
        ("rtmp://host/a/b/live/streamkey", "rtmp://host/a/b/live/{str...key}"),
        ("rtmp://host/live/abcd", "rtmp://host/live/{a...d}"),
        ("rtmp://host/live/ab", "rtmp://host/live/{...}"),
        ("rtmp://host/live/", "rtmp://host/live/{...}"),
        # These would be shown by livekit/egress.
        ("rtmp://host/live/name?token=s3/cr/et-token", "rtmp://host/live/{nam...ken}"),
        ("rtmp://user:password@host/live/streamkey", "rtmp://{credentials}@host/live/{str...key}"),
        ("twitch://streamkey", "twitch:{...}"),
        ("streamkey", ":{...}"),
    ],
)
def test_stream_keys_are_recognisable_but_not_usable(url: str, redacted: str) -> None:
    target = StreamTarget(url, "first")
    assert target.redacted == redacted
    assert repr(target) == "StreamTarget(id='first')"


@given(first=MIDDLES, second=MIDDLES)
def test_keys_that_differ_in_the_middle_look_the_same(first: str, second: str) -> None:
    for form in ("abc{}xyz", "abc?{}/{}/xyz"):
        shown = {
            StreamTarget("rtmp://host/live/" + form.format(key, key)).redacted for key in (first, second)
        }
        assert shown == {"rtmp://host/live/{abc...xyz}"}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("mux://streamkey", "mux output is not yet supported"),
        ("twitch://streamkey", "twitch output is not yet supported"),
        ("srt://host?passphrase=streamkey", "srt output is not yet supported"),
        ("wss://host/streamkey", "wss output is not yet supported"),
        ("https://host/live/streamkey", "stream url is 'https:{...}', allowed is rtmp(s)://{host}(/{path})"),
        ("rtmp://host/streamkey", "stream url is 'rtmp:{...}'"),
        ("rtmp://[host/live/streamkey live=1", "stream url is 'rtmp:{...}'"),
        ("", "stream url is ':{...}'"),
    ],
)
def test_other_addresses_are_refused_without_their_key(url: str, text: str) -> None:
    with pytest.raises(EgressError) as refused:
        stream_target(url)
    assert text in str(refused.value)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert "streamkey" not in str(refused.value)
