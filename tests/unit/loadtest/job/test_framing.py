"""Messages in a log: whole, once, and in spite of what logs do to lines."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.job.framing import Decoder, Encoder

_LONG = np.random.default_rng(5).bytes(50_000)


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_what_is_sent_comes(messages: list[bytes]) -> None:
    encoder, decoder = Encoder(), Decoder()
    lines = [line for message in messages for line in encoder.lines(message)]
    assert decoder.take(lines) == messages
    assert decoder.missing == ()


def test_a_long_message_takes_several_lines_that_no_runtime_splits() -> None:
    lines = Encoder().lines(_LONG)
    assert len(lines) > 3
    assert max(len(line) for line in lines) < 16 * 1024
    assert Decoder().take(lines) == [_LONG]


def test_a_log_that_is_read_twice_gives_each_message_once() -> None:
    encoder, decoder = Encoder(), Decoder()
    lines = [*encoder.lines(b"one"), *encoder.lines(_LONG)]
    half = len(lines) // 2
    assert decoder.take(lines[:half]) == [b"one"]
    assert decoder.take(lines) == [_LONG]
    assert decoder.take(lines) == []


def test_other_lines_are_text_of_which_the_end_is_kept() -> None:
    decoder = Decoder()
    decoder.take(f"line {number}" for number in range(1000))
    assert decoder.text.endswith("line 998\nline 999")
    assert "line 100\n" not in decoder.text
    decoder.read_again()
    decoder.take(["line 0"])
    assert decoder.text == "line 0"


def test_a_message_is_found_among_other_lines() -> None:
    first, *rest = Encoder().lines(_LONG)
    assert Decoder().take([first + "\n", "a warning", *rest]) == [_LONG]


def test_a_damaged_line_is_no_part_of_a_message_and_may_come_again() -> None:
    decoder, lines = Decoder(), Encoder().lines(_LONG)
    damaged = lines[1][:100] + ("A" if lines[1][100] != "A" else "B") + lines[1][101:]
    for broken in (damaged, lines[1][:5000], lines[1].replace("@load 0 2/", "@load 0 3/")):
        assert decoder.take([lines[0], broken, *lines[2:]]) == []
        assert decoder.missing == (0,)
    assert decoder.take([lines[1]]) == [_LONG]
    assert decoder.missing == ()


def test_a_message_of_which_nothing_came_is_missed_when_a_later_one_comes() -> None:
    encoder, decoder = Encoder(), Decoder()
    first, lost, last = (encoder.lines(text) for text in (b"first", b"lost", b"last"))
    assert decoder.take([*first, *last]) == [b"first", b"last"]
    assert decoder.missing == (1,)
    assert decoder.take(lost) == [b"lost"]
