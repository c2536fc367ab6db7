"""What is kept of a chat message, and that it stays data in a page: pure, and by properties."""

from __future__ import annotations

import json
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from token_api.domain.chat_text import MAX_BYTES, MAX_LENGTH, MAX_NAME_LENGTH, BadText, clean, shown_name
from token_api.page_safe import to_json

TURNING = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
MARKUP = ["<script>alert(1)</script>", "</script>", "<!--<script", "]]>", "javascript:", "&lt;", "\u2028"]
ANY_TEXT = st.lists(st.one_of(st.text(), st.sampled_from([*MARKUP, *TURNING]))).map("".join)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("hello", "hello"),
        ("  a\r\nb\tc\u2028d  ", "a b c d"),
        ("\u202eevil\u202c", "evil"),
        ("\u2066+49 123\u2069", "+49 123"),
        ("bell\x07 \x00nul \x9b", "bell nul"),
        ("e\u0301", "\u00e9"),
        ("\u0645\u0631\u062d\u0628\u0627\u200f!", "\u0645\u0631\u062d\u0628\u0627\u200f!"),
        ("<b>bold</b> & <script>", "<b>bold</b> & <script>"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("a" * MAX_LENGTH, "a" * MAX_LENGTH),
    ],
)
def test_text_is_kept_as_it_shows(written: str, kept: str) -> None:
    assert clean(written) == kept


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "nothing"),
        (" \n\u202e\u200b ", "nothing"),
        ("a" * (MAX_LENGTH + 1), "at most 500 characters"),
        ("\U0001f600" * (MAX_BYTES // 4 + 1), "at most 1500 bytes"),
        ("half \ud83d", "half a character"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(written: str, why: str) -> None:
    with pytest.raises(BadText, match=why):
        clean(written)


def test_a_name_fits_its_column_after_it_was_composed() -> None:
    # One character becomes three.
    assert len(shown_name("\ufb2c" * MAX_NAME_LENGTH)) == MAX_NAME_LENGTH
    assert shown_name(" Anna\u202e ") == "Anna"


def test_a_stream_may_allow_less() -> None:
    assert clean("abc", 3) == "abc"
    with pytest.raises(BadText, match="at most 3 characters"):
        clean("abcd", 3)


@given(ANY_TEXT)
def test_nothing_unseen_is_left_and_cleaning_again_changes_nothing(written: str) -> None:
    try:
        kept = clean(written, 10_000)
    except BadText:
        return
    assert not [character for character in kept if unicodedata.category(character) == "Cc"]
    assert not set(kept) & set(TURNING)
    assert clean(kept, 10_000) == kept


class Page(HTMLParser):
    """Every element of a page, and all text within and outside of script blocks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.tags: list[str] = []
        self.data = ""

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.data += data


@given(ANY_TEXT)
def test_json_within_a_script_block_cannot_end_it(text: str) -> None:
    told = to_json({"text": text, text: ["name", text]})
    assert json.loads(told) == {"text": text, text: ["name", text]}
    page = Page()
    page.feed(f'<script type="application/json">{told}</script>')
    page.close()
    assert page.tags == ["script"]
    assert page.data == told
    # As the text of an element, it is text: there is nothing in it that begins an element or a reference.
    assert not set(told) & set("<>&\u2028\u2029")
