"""Addresses and names of recordings, and the order of their states: pure."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.token_api.test_recordings import STATUS
from token_api.domain.object_keys import file_name, is_recording_key, recording_key
from token_api.domain.recording_states import FINAL, goes_on, status_of
from token_api.domain.vocabulary import RecordingStatus
from token_api.storage.presign import address
from token_api.storage.store import Store


def test_the_signature_covers_key_and_name() -> None:
    store = Store("http://127.0.0.1:9000", "http://inner:9000", "recordings", "eu-west-1", "reader", "x" * 40)

    def signature(url: str) -> str:
        return parse_qs(urlsplit(url).query)["X-Amz-Signature"][0]

    one = address(store, "recordings/a.mp4", file_name="a.mp4")
    assert re.fullmatch(r"[0-9a-f]{64}", signature(one))
    assert signature(address(store, "recordings/b.mp4", file_name="a.mp4")) != signature(one)
    assert signature(address(store, "recordings/a.mp4", file_name="b.mp4")) != signature(one)
    assert "x" * 40 not in one
    assert "x" * 40 not in repr(store)


@given(st.text(max_size=300), st.datetimes())
def test_file_names_are_safe(title: str, at: Any) -> None:
    assert re.fullmatch(r"[A-Za-z0-9-]{1,90}\.mp4", file_name(title, at))
    assert not file_name(title, at).startswith("-")


@given(st.lists(st.sampled_from(list(RecordingStatus)), max_size=12))
def test_what_is_final_stays(news: list[RecordingStatus]) -> None:
    status, ended = RecordingStatus.REQUESTED, None
    for new in news:
        if goes_on(status, new):
            assert ended is None
            status = new
        ended = status if status in FINAL else None
    firsts = [new for new in news if new in FINAL][:1]
    assert status in FINAL or not firsts
    assert not firsts or status is firsts[0]


@pytest.mark.parametrize("new", RecordingStatus)
def test_what_was_given_up_ends_as_livekit_says(new: RecordingStatus) -> None:
    assert goes_on(RecordingStatus.ABORTED, new, given_up=True) is (new in FINAL)
    assert not goes_on(RecordingStatus.ABORTED, new)


def test_every_status_of_livekit_is_known() -> None:
    known = [name.removeprefix("EGRESS_").lower() for name in STATUS.DESCRIPTOR.values_by_name]
    assert [name for name in known if status_of(name) is None] == []
    assert status_of("melted") is None


def test_only_our_keys_are_ours() -> None:
    one = "0" * 8 + "-0000-0000-0000-" + "0" * 12
    assert is_recording_key(recording_key(one, one, one))
    for other in ("", "a.mp4", f"recordings/{one}/{one}/../{one}.mp4", f"recordings/{one}/{one}/{one}.mp4\n"):
        assert not is_recording_key(other)
