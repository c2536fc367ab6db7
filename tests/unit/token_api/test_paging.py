"""Pages and cursors, pure: every item once, whatever the times; and no text that is a cursor by mistake."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from token_api.domain.paging import MAX_CURSOR_LENGTH, BadCursor, Cursor, page_of, read_cursor

moments = st.datetimes(timezones=st.just(UTC))
ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=130)
places = st.builds(Cursor, moments, ids)


@given(places)
def test_a_cursor_is_read_as_it_was_written(place: Cursor) -> None:
    """To the microsecond: a rounded one would skip an item, or show it twice."""
    text = str(place)
    assert read_cursor(text) == place
    # It is put into a query as it is.
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(text) <= MAX_CURSOR_LENGTH


def packed(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "=",
        "é",
        "A" * (MAX_CURSOR_LENGTH + 1),
        packed(5),
        packed([]),
        packed([1]),
        packed([1, "a", "b"]),
        packed(["1", "a"]),
        packed([1.5, "a"]),
        packed([True, "a"]),
        packed([1, 2]),
        packed([1, None]),
        packed([10**30, "a"]),
        packed([-(10**30), "a"]),
        packed([1, "a\x00"]),
        packed([1, "é"]),
        packed([1, "a" * 131]),
        packed({"at": 1, "id": "a"}),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        str(Cursor(datetime(2030, 1, 1, tzinfo=UTC), "a")) + "!",
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor(text)


@given(st.text(max_size=300))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        read_cursor(text)
    except BadCursor:
        return


@given(
    offsets=st.lists(st.integers(0, 3), max_size=30),
    limit=st.integers(1, 7),
)
def test_pages_have_every_item_once_also_of_one_moment(offsets: list[int], limit: int) -> None:
    """Newest first; many are of one microsecond, as those are that one transaction makes."""
    start = datetime(2030, 1, 1, tzinfo=UTC)
    items = sorted(
        ((start + timedelta(microseconds=offset), f"{number:03}") for number, offset in enumerate(offsets)),
        reverse=True,
    )
    seen: list[tuple[datetime, str]] = []
    cursor: Cursor | None = None
    for _ in range(len(items) + 1):
        # What the database is asked: one more than the page holds.
        rest = [item for item in items if cursor is None or item < (cursor.at, cursor.id)]
        page = page_of(rest[: limit + 1], limit, lambda item: Cursor(*item))
        assert len(page.items) <= limit
        seen += page.items
        if page.next_cursor is None:
            break
        cursor = read_cursor(page.next_cursor)
    assert seen == items


def test_a_full_last_page_has_no_next() -> None:
    assert (
        page_of([1, 2], 2, lambda item: Cursor(datetime(2030, 1, item, tzinfo=UTC), "")).next_cursor is None
    )
    assert page_of([], 2, lambda _: Cursor(datetime(2030, 1, 1, tzinfo=UTC), "")).next_cursor is None
