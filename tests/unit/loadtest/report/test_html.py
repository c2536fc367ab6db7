"""The page: for every kind of run, self-contained, escaped, and with what matters first."""
# ruff: noqa: S314 - the XML is our own

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from loadtest.report.compare import compare
from loadtest.report.html import render_html
from loadtest.report.plot_frame import frame_of
from loadtest.report.plots import pictures
from loadtest.report.series import series, stretch
from loadtest.result import Second
from tests.unit.loadtest.report import results, runs

_VOID = {"meta", "br"}


class Page(HTMLParser):
    """Collects what is looked at: elements, attributes, texts; and refuses tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", runs.ALL)
def test_a_page_for_every_kind_of_run_needs_nothing_but_itself(name: str) -> None:
    text = render_html(runs.ALL[name]())
    page = Page(text)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"src", "href", "onclick"}
    assert not re.search(r"url\(|@import|https?://", text)
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)
    assert "NaN" not in text
    assert "None" not in page.text


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("passed", "PASSED: 4 of 4 checks held"),
        ("failed", "FAILED: 3 of 7 checks missed"),
        ("invalid", "INVALID: these figures prove nothing"),
        ("could-not-run", "COULD NOT RUN: no SFU answers at ws://sfu.example"),
    ],
)
def test_the_verdict_stands_before_everything_else(name: str, first: str) -> None:
    text = Page(render_html(runs.ALL[name]())).text
    before = text[: text.index(first)]
    assert not re.search(r"Checks|Plots|Links:", before)


def test_reasons_of_clients_are_text_never_markup() -> None:
    text = render_html(runs.failed())
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text


def test_missed_checks_stand_above_those_that_held() -> None:
    held_first = runs.failed().model_copy(update={"checks": runs.failed().checks[::-1]})
    text = render_html(held_first)
    assert text.rindex("✗ missed") < text.index("✓ held")


def test_a_limit_that_was_computed_is_shown_with_its_parts_also_where_it_held() -> None:
    objective = results.check("viewers: latency_p50_ms ≤ latency-objective", 171, 247)
    parts = "0 ms of links, 147 of its own jitter buffer and decoder, 100 for all between"
    shown = runs.run().model_copy(update={"checks": (objective.model_copy(update={"limit_parts": parts}),)})
    assert parts in Page(render_html(shown)).text


def test_a_link_that_is_not_what_it_claims_is_marked_in_its_table() -> None:
    text = render_html(runs.invalid())
    assert 'class="number mark bad">30→62.0 ±1.9<' in text
    assert "✗ not what it claims" in text
    assert "✗ not what it claims" not in render_html(runs.run())


def titles(name: str) -> list[str]:
    return [picture.title for picture in pictures(runs.ALL[name]())]


def test_a_plot_is_there_for_all_that_was_measured_and_for_nothing_else() -> None:
    assert titles("passed") == [
        "Latency, capture to decoded",
        "Age of the newest picture",
        "Latency of all pictures, per client",
        "Sent by creator",
        "Received by viewers",
        "Height of the picture",
        "Where the time of joining went",
        "Processors that were busy",
        "Packets through the SFUs",
    ]
    assert titles("api") == ["API latency", "API latency by percentile", "Processors that were busy"]
    assert titles("could-not-run") == []


def test_capacity_is_drawn_where_it_is_near_the_traffic_and_said_where_it_is_not() -> None:
    [near] = [one for one in pictures(runs.capacity_steps()) if one.title == "Received by viewers"]
    assert ">link capacity<" in near.svg
    assert near.svg.count('class="moment"') == 2 * 3, "three steps after the start, each a group and a line"
    [far] = [one for one in pictures(runs.run()) if one.title == "Received by viewers"]
    assert ">link capacity<" not in far.svg
    assert "The link carries 9000 kbit/s" in far.reading


def test_the_measured_time_is_shaded_in_every_plot_over_time_and_said() -> None:
    shaded = runs.run(measured_from_s=12.0, measured_to_s=42.0)
    drawn = {one.title: one.svg for one in pictures(shaded)}
    assert {title for title, svg in drawn.items() if 'class="shaded"' not in svg} == {
        "Latency of all pictures, per client",
        "Where the time of joining went",
    }
    [rectangle] = ET.fromstring(drawn["Packets through the SFUs"]).findall("rect")
    whole = frame_of(shaded).x
    share = (float(rectangle.attrib["x"]) - 56) / (600 - 122 - 56)
    assert share == pytest.approx((12 - whole.low) / (whole.high - whole.low), abs=0.001)
    text = Page(render_html(shaded)).text
    assert "Shaded: the measured time, from 12 s to 42 s." in text
    assert "Shaded" not in Page(render_html(runs.run())).text
    assert "Shaded" not in Page(render_html(runs.could_not_run())).text


def test_the_cap_is_drawn_once_values_come_near_it() -> None:
    def age(name: str) -> str:
        [found] = [one.svg for one in pictures(runs.ALL[name]()) if one.title == "Age of the newest picture"]
        return found

    assert "3 s hard cap" in age("failed")
    assert "3 s hard cap" not in age("passed")


def test_an_hour_is_drawn_by_few_points_and_keeps_its_extremes() -> None:
    assert len(render_html(runs.soak(3600, 8))) < 300_000
    seconds = [Second(at_s=at, age_max_ms=9000 if at == 1234 else 100) for at in range(3600)]
    drawn = series(seconds, lambda second: second.age_max_ms, stretch(3600))
    assert len(drawn.band) == 240
    assert drawn.highest_value == 9000


def test_plots_begin_with_the_first_sample() -> None:
    late = Second(at_s=40, pictures=1, latency_p50_ms=50, latency_max_ms=60)
    result = runs.run(
        clients=(results.viewer(0, seconds=(late, late.model_copy(update={"at_s": 41})), video=()),),
        sfu=(),
        generator=(),
    )
    assert frame_of(result).x.low == 39
    assert ">10<" not in pictures(result)[0].svg


def test_a_stall_is_a_gap_in_the_latency() -> None:
    stalled = results.viewer(0, stall=(20, 26)).seconds
    drawn = series(stalled, lambda second: second.latency_p50_ms, 1)
    gaps = [at for at, value in drawn.middle if value is None]
    assert gaps == [20.5, 21.5, 22.5, 23.5, 24.5, 25.5]


def test_a_comparison_shows_what_got_worse() -> None:
    text = render_html(runs.failed(), compare(runs.run(), runs.failed()))
    assert "Compared with an earlier run: 4 worse" in text
    assert "Not compared" not in text
    assert "another profile" in render_html(runs.run(), None, "the baseline is of another profile")
