"""Text as pixels.

The fonts are Debian packages: fonts-open-sans, fonts-noto-ui-core, fonts-wqy-microhei, fonts-dejavu-core and
fonts-noto-color-emoji; libfribidi0 orders text. Without one of them, tests fail with a message that names it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.compose import fonts
from recorder.compose.bidi import in_visual_order, levels
from recorder.compose.fonts import CHAIN, EMOJI, TEXT, FontsMissing, check_installed, font_for
from recorder.compose.names import characters
from recorder.compose.planes import Rgba
from recorder.compose.text import draw_line

WHITE = (255, 255, 255)
SIZE = 40
WIDE = 10_000
FAMILY = "👨\u200d👩\u200d👧\u200d👦"
NAMES = {
    "Latin": "José Ñandú",
    "Vietnamese": "Nguyễn Thị",
    "Greek": "Ελένη",
    "Cyrillic": "Дмитрий Їжак",
    "Armenian": "Հայկ",
    "Georgian": "გიორგი",
    "Hebrew": "דוד",
    "Arabic": "محمد",
    "Persian": "پژمان",
    "Urdu": "ٹیپو",
    "Devanagari": "अनुष्का",
    "Bengali": "হাসান",
    "Gurmukhi": "ਪੰਜਾਬੀ",
    "Gujarati": "પટેલ",
    "Oriya": "ଓଡ଼ିଆ",
    "Tamil": "தமிழ்",
    "Telugu": "మహేశ్",
    "Kannada": "ಕನ್ನಡ",
    "Malayalam": "മലയാളം",
    "Sinhala": "පෙරේරා",
    "Thai": "สมชาย",
    "Lao": "ສົມພອນ",
    "Khmer": "សុខា",
    "Burmese": "ဇော်",
    "Chinese": "王小明 張偉",
    "Japanese": "山田 はなこ タロウ",
    "Korean": "김민준",
    "emoji": f"🎉👩‍🚀🇺🇦1️⃣❤️{FAMILY}",
}


def drawn(text: str, size: int = SIZE) -> Rgba:
    return draw_line(text, size, WHITE, WIDE).text


def coloured_columns(pixels: Rgba) -> NDArray[np.intp]:
    """The columns that have pixels that are not grey; white text has none."""
    colours = pixels[..., :3].astype(int)
    return np.nonzero(colours.max(axis=2) - colours.min(axis=2) > 40)[1]


def difference(one: Rgba, other: Rgba) -> float:
    """How far two images are apart, aligned at their left edges."""
    width = min(one.shape[1], other.shape[1])
    return float(np.abs(one[:, :width, 3].astype(int) - other[:, :width, 3]).mean())


@pytest.mark.parametrize("script", NAMES)
def test_each_script_has_a_font_and_shapes_of_its_own(script: str) -> None:
    name = NAMES[script]
    missing = drawn("\U0003fffd")
    for character in characters(name.replace(" ", "")):
        assert font_for(character).draws(character), f"no font has {character!r}"
        assert not np.array_equal(drawn(character), missing)
    shapes = {drawn(character).tobytes() for character in characters(name)}
    assert len(shapes) == len(set(characters(name)))


@pytest.mark.parametrize("script", sorted(set(NAMES) - {"emoji"}))
def test_a_line_of_any_script_stays_within_the_height_of_its_size(script: str) -> None:
    image = drawn(NAMES[script])
    assert image.shape[0] == drawn("x").shape[0]
    # Nothing is cut off at the top or the bottom, but for the faint edges of tall marks.
    assert image[[0, -1], :, 3].mean() < 16


def test_letters_of_a_right_to_left_script_are_in_reverse_order() -> None:
    alef, bet = drawn("א"), drawn("ב")
    word = drawn("אב")
    assert difference(word, bet) < 0.5 * difference(word, alef)
    right = word[:, -alef.shape[1] :]
    assert difference(right, alef) < 0.5 * difference(right, bet)


def test_arabic_letters_are_joined() -> None:
    def has_gaps(image: Rgba) -> bool:
        inner = image[:, 10:-10, 3].max(axis=0)
        return bool((inner == 0).any())

    letter, word = drawn("س"), drawn("سسس")
    assert has_gaps(np.hstack([letter, letter, letter]))
    assert not has_gaps(word)
    assert word.shape[1] < 0.9 * 3 * letter.shape[1]


@pytest.mark.parametrize(("text", "is_left"), [("ab 😀", False), ("אב 😀", True), ("😀 אב", False)])
def test_fonts_follow_each_other_in_the_direction_of_the_text(text: str, is_left: bool) -> None:
    coloured = coloured_columns(drawn(text))
    assert coloured.size
    assert bool(coloured.mean() < drawn(text).shape[1] / 2) is is_left


def test_numbers_in_a_right_to_left_name_are_read_from_left_to_right() -> None:
    assert levels("אב 12") == [1, 1, 1, 2, 2]
    assert levels("ab אב") == [0, 0, 0, 1, 1]
    assert levels("") == []
    runs = [("x", 0), ("ALEF", 1), ("1", 2), ("2", 2), ("BET", 1), ("y", 0)]
    ordered = in_visual_order(runs, lambda run: run[1])
    assert [text for text, _ in ordered] == ["x", "BET", "1", "2", "ALEF", "y"]


def test_brackets_are_mirrored_in_a_right_to_left_name() -> None:
    opening, closing = drawn("("), drawn(")")
    right = drawn("(א")[:, -closing.shape[1] :]
    assert difference(right, closing) < 0.5 * difference(right, opening)


def test_a_letter_and_its_marks_are_of_one_font() -> None:
    assert font_for("m") is TEXT
    assert not TEXT.draws("m\u0310")
    assert font_for("m\u0310").draws("m\u0310")


def test_a_joined_emoji_is_one_picture() -> None:
    single = drawn("😀").shape[1]
    assert drawn(FAMILY).shape[1] == single
    assert drawn("🇺🇦").shape[1] == single
    assert drawn("👋🏽").shape[1] == single
    assert coloured_columns(drawn("🇺🇦")).size
    assert coloured_columns(drawn("❤️")).size


def test_digits_and_symbols_are_text_unless_they_ask_for_colour() -> None:
    assert font_for("1") is TEXT
    assert font_for("1\ufe0f\u20e3") is EMOJI
    assert font_for("©") is TEXT
    assert font_for("©\ufe0f") is EMOJI


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(sorted(NAMES.values())), min_size=1, max_size=6).map(" ".join),
    st.integers(0, 300),
)
def test_a_line_is_never_wider_than_allowed(text: str, widest: int) -> None:
    whole, image = drawn(text, 16), draw_line(text, 16, WHITE, widest).text
    assert image.shape[1] <= max(1, widest)
    if whole.shape[1] <= widest:
        assert np.array_equal(image, whole)


def test_a_line_that_is_cut_uses_its_room() -> None:
    image = draw_line("Wolfgang Amadeus Mozart", 16, WHITE, 100).text
    assert 100 - drawn("W…", 16).shape[1] < image.shape[1] <= 100
    # The end is the ellipsis: three dots, and nothing above them.
    end = image[:, 1 - drawn("…", 16).shape[1] :, 3]
    assert end[-10:].any()
    assert not end[:-10].any()


def test_drawn_lines_are_kept_and_not_for_ever() -> None:
    assert draw_line("again", 16, WHITE, WIDE) is draw_line("again", 16, WHITE, WIDE)
    for number in range(400):
        draw_line(f"{number}", 10, WHITE, WIDE)
    assert draw_line.cache_info().currsize <= 300


def test_missing_fonts_are_named_by_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_DIRECTORY", tmp_path)
    with pytest.raises(FontsMissing) as missing:
        check_installed.__wrapped__()
    assert all(font.package in str(missing.value) for font in CHAIN)
