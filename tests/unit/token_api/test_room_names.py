"""Names of rooms and participants: made by the server, told apart from everybody else's."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from token_api.domain.room_names import PREFIXES, identity_of, is_ours, room_name, stream_of
from token_api.domain.vocabulary import StreamKind

STREAM = "0a1b2c3d-0000-4000-8000-00000000000f"
SESSION = "fedcba98-7654-4321-8000-000000000000"

ids = st.uuids().map(str)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (StreamKind.STREAM, f"stream_{STREAM}_fedcba987654"),
        (StreamKind.CONSULTATION, f"consultation_{STREAM}_fedcba987654"),
    ],
)
def test_a_name_says_the_kind_the_stream_and_the_session(kind: StreamKind, name: str) -> None:
    assert room_name(kind, STREAM, SESSION) == name


def test_every_kind_has_a_prefix_that_begins_no_other() -> None:
    assert set(PREFIXES) == set(StreamKind)
    for kind, prefix in PREFIXES.items():
        assert not any(other.startswith(prefix) for one, other in PREFIXES.items() if one is not kind)


@given(kind=st.sampled_from(StreamKind), stream=ids, session=ids, other=ids)
def test_our_names_are_ours_lead_back_and_are_new_in_each_session(
    kind: StreamKind, stream: str, session: str, other: str
) -> None:
    name = room_name(kind, stream, session)
    assert is_ours(name)
    assert stream_of(name) == stream
    # LiveKit's own limit, and what needs no escaping in a path or a log.
    assert re.fullmatch(r"[a-z0-9_-]{1,128}", name)
    if session.replace("-", "")[:12] != other.replace("-", "")[:12]:
        assert room_name(kind, stream, other) != name


NAME = room_name(StreamKind.STREAM, STREAM, SESSION)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "lobby",
        "stream_",
        "stream_mine",
        f"x{NAME}",
        f"{NAME}x",
        f"{NAME}\n",
        NAME.upper(),
        NAME.replace("stream_", "meeting_"),
        NAME.replace("-", ""),
        NAME[:-1],
        NAME.replace("0a1b", "0g1b"),
    ],
)
def test_what_only_looks_like_ours_is_none_of_our_business(name: str) -> None:
    assert not is_ours(name)
    assert stream_of(name) is None


@given(st.text(max_size=80))
def test_no_text_breaks_it_and_both_answers_agree(name: str) -> None:
    assert is_ours(name) is (stream_of(name) is not None)


@given(one=st.text(min_size=1, max_size=20), other=st.text(min_size=1, max_size=20))
def test_each_user_has_one_identity_that_no_room_or_helper_has(one: str, other: str) -> None:
    assert (identity_of(one) == identity_of(other)) is (one == other)
    assert identity_of(one).startswith("u:")


def test_a_random_id_is_what_the_names_take() -> None:
    """The ids that the database makes are of the form that the names are known by."""
    assert is_ours(room_name(StreamKind.STREAM, str(uuid.uuid4()), str(uuid.uuid4())))
