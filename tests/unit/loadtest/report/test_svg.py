"""Plots: ticks that people read, gaps that stay gaps, labels that do not overlap."""
# ruff: noqa: S314 - the XML is our own

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.axes import Scale, clock_text, nice_ticks, spread, tick_text, time_ticks
from loadtest.report.svg import (
    Bar,
    Level,
    Line,
    Moment,
    Plot,
    draw,
    draw_bars,
    path,
    time_axis,
    unbroken,
    value_axis,
)


@pytest.mark.parametrize(
    ("high", "ticks"),
    [
        (97, (0, 20, 40, 60, 80, 100)),
        (0.23, (0, 0.05, 0.1, 0.15, 0.2, 0.25)),
        (3150, (0, 1000, 2000, 3000, 4000)),
        (0, (0, 1)),
    ],
)
def test_ticks_are_round_numbers(high: float, ticks: tuple[float, ...]) -> None:
    assert nice_ticks(high) == ticks


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_ticks_reach_the_highest_value_and_are_few(high: float) -> None:
    ticks = nice_ticks(high)
    assert ticks[-1] >= high * 0.999999
    assert 2 <= len(ticks) <= 7


def test_times_are_written_as_a_clock_shows_them() -> None:
    assert time_ticks(0, 45) == (0, 10, 20, 30, 40)
    assert [clock_text(at, 300) for at in time_ticks(0, 300)] == [
        "0:00",
        "1:00",
        "2:00",
        "3:00",
        "4:00",
        "5:00",
    ]
    assert time_ticks(21.5, 49) == (25, 30, 35, 40, 45)
    assert clock_text(3720, 7200) == "1:02:00"
    assert tick_text(25_000) == "25 k"


def test_values_outside_a_scale_are_clipped() -> None:
    scale = Scale(0, 10, 100, 0)
    assert (scale(0), scale(10), scale(99), scale(-5)) == (100, 0, 0, 100)


@given(st.lists(st.floats(min_value=0, max_value=200), max_size=12))
def test_labels_keep_apart(wanted: list[float]) -> None:
    placed = sorted(spread(wanted, 14, 0, 200))
    assert all(after - before >= 14 - 1e-6 for before, after in pairwise(placed))
    assert all(-1e-6 <= place <= 200 for place in placed)


def test_a_line_breaks_where_there_is_nothing() -> None:
    unit = Scale(0, 10, 0, 10)
    broken = Line("", [(0, 1), (1, 2), (2, None), (3, 3), (4, 4)])
    assert path(broken, unit, unit) == "M0.0,1.0L1.0,2.0M3.0,3.0L4.0,4.0"
    assert path(Line("", [(0, None), (1, 5), (2, None)]), unit, unit) == "M1.0,5.0h0.1"
    assert path(Line("", [(0, 1), (1, 2)], stepped=True), unit, unit) == "M0.0,1.0H1.0V2.0"


def test_a_band_breaks_too() -> None:
    band = [(0.5, 1.0, 2.0), (1.5, 1.0, 2.0), (6.5, 1.0, 2.0)]
    assert unbroken(band) == [band[:2], band[2:]]
    assert unbroken([]) == []


def test_a_plot_is_one_element_of_xml_with_everything_escaped() -> None:
    line = Line("<b>&", [(0, 1), (9, 2)], band=[(0, 1, 2), (1, 1, 3)])
    plot = Plot(
        "a <title>",
        time_axis(0, 10),
        value_axis("ms & more", 5),
        [line],
        [Level("cap <", 4), Level("x", 9)],
        [Moment(5, "1", "<i>"), Moment(11, "late", "late")],
    )
    root = ET.fromstring(draw(plot))
    texts = [element.text for element in root.iter("text")]
    assert {"<b>&", "ms & more", "cap <", "1"} <= set(texts)
    assert "x" not in texts, "a level above the axis is not drawn"
    assert "late" not in texts, "a moment after the end is not drawn"
    assert [element.text for element in root.iter("title")] == ["<i>", "<b>&"]


def test_bars_stack_their_parts_and_leave_out_what_is_missing() -> None:
    root = ET.fromstring(draw_bars("t", "ms", ["a", "b", "c"], [Bar("x", (10, None, 20), "no media")]))
    bars = [one for one in root.iter("rect") if one.get("height") == "14"]
    (first, second) = bars
    end_of_first = float(first.attrib["x"]) + float(first.attrib["width"])
    assert end_of_first == pytest.approx(float(second.attrib["x"]), abs=0.2)
    assert float(second.attrib["width"]) == pytest.approx(2 * float(first.attrib["width"]), abs=0.2)
    assert "no media" in [element.text for element in root.iter("text")]
