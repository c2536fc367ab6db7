"""Names from tokens as text that can be drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.compose.names import ELLIPSIS, characters, clean, cut, initials

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
names = st.lists(
    st.sampled_from([*"ab é한א", "e\u0301", "🇩🇪", FAMILY, SCOTLAND, "क्षि", "👋🏽"]), max_size=40
).map("".join)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("Ada  Lovelace\n", "Ada Lovelace"),
        ("a\x00b\x1bc\x7f", "abc"),
        # An override, an isolate and a mark, each of which could turn the text around it.
        ("ab\u202ecd\u202c \u2066x\u2069 \u200fy", "abcd x y"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("line\u2028break\u00a0space", "line break space"),
        ("e\u0301", "é"),
        ("\ue000private", "private"),
        # A word of Persian has a non-joiner in it, and emoji and flags have joiners and tags.
        ("می\u200cخواهم", "می\u200cخواهم"),
        (FAMILY, FAMILY),
        (SCOTLAND, SCOTLAND),
        ("\u200d\u200c\u202e \t", ""),
        ("", ""),
    ],
)
def test_a_name_keeps_what_is_seen(name: str, cleaned: str) -> None:
    assert clean(name) == cleaned


def test_an_endless_name_ends() -> None:
    assert clean("x" * 1_000_000) == "x" * 120
    # Accents without end belong to one character.
    assert len(clean("x" + "\u0301" * 1_000_000)) < 2000
    assert clean(FAMILY * 500).endswith(FAMILY)


@given(st.text())
def test_a_clean_name_is_clean(name: str) -> None:
    assert clean(clean(name)) == clean(name)


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Ada Lovelace", "AL"),
        ("augusta ada king", "AK"),
        ("plato", "P"),
        ("Дмитрий Шостакович", "ДШ"),
        ("Éva Ösz", "ÉÖ"),
        ("王小明", "王"),
        ("山田 花子", "山"),
        ("გიორგი ბერიძე", "გ"),
        ("محمد عبد الله", "م"),
        ("क्षितिज कुमार", "क्षि"),
        ("🎉 Zoë (host)", "Z"),
        (FAMILY, FAMILY),
        ("7 of 9", "7"),
        ("", "?"),
    ],
)
def test_initials_are_those_that_a_reader_expects(name: str, letters: str) -> None:
    assert initials(name) == letters


@given(names, st.integers(0, 60))
def test_a_name_is_cut_between_characters_and_as_late_as_possible(name: str, room: int) -> None:
    parts = characters(name)
    result = cut(name, lambda text: len(characters(text)) <= room)
    if len(parts) <= room:
        assert result == name
    elif room == 0:
        assert result == ""
    else:
        assert result == "".join(parts[: room - 1]).rstrip() + ELLIPSIS
