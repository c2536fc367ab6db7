"""JUnit XML: what CI systems read, and nothing that they stumble over."""
# ruff: noqa: S314 - the XML is our own

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from loadtest.report.junit import to_junit
from loadtest.result import RunResult
from tests.unit.loadtest.report import results, runs

# junit-10.xsd of Jenkins' xUnit plugin: element -> its attributes, its children.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors", "skipped"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "classname", "time", "status"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}


def suite(result: RunResult) -> ET.Element:
    [found] = ET.fromstring(to_junit(result).encode())
    return found


@pytest.mark.parametrize("name", runs.ALL)
def test_it_has_the_elements_and_the_counts_that_readers_expect(name: str) -> None:
    root = ET.fromstring(to_junit(runs.ALL[name]()).encode())
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
    [found] = root
    for counted, tag in (
        ("tests", "testcase"),
        ("failures", "failure"),
        ("errors", "error"),
        ("skipped", "skipped"),
    ):
        assert int(found.attrib[counted]) == len(list(found.iter(tag))), counted
    names = [case.attrib["name"] for case in found.iter("testcase")]
    assert names[0] == "the run is valid"


def test_a_missed_threshold_is_a_failure_that_says_all() -> None:
    failures = list(suite(runs.failed()).iter("failure"))
    assert [one.attrib["message"] for one in failures][1] == (
        "viewers: longest_freeze_ms ≤ 3000 was 8000 ms (viewers-2): viewers-2 was above the limit"
    )
    assert not list(suite(runs.run()).iter("failure"))


@pytest.mark.parametrize("name", ["invalid", "could-not-run", "interrupted"])
def test_a_run_that_proves_nothing_is_one_error_and_neither_passes_nor_fails_a_check(name: str) -> None:
    found = suite(runs.ALL[name]())
    assert len(list(found.iter("error"))) == 1
    assert not list(found.iter("failure"))
    passed = [case for case in found.iter("testcase") if case.find("error") is case.find("skipped") is None]
    assert passed == []


def test_the_error_names_the_reasons() -> None:
    [error] = suite(runs.invalid()).iter("error")
    assert "delay_ms is 62" in (error.text or "")
    assert "saturated" in (error.text or "")


def test_figures_are_properties_of_the_suite() -> None:
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite(runs.run()).iter("property")}
    assert properties["sfu_packets_per_busy_core"] == "4100"
    assert properties["viewers-1.latency_p50_ms"] == "110"
    assert properties["environment.commit"] == "a1b2c3d"


def test_what_xml_cannot_carry_is_replaced() -> None:
    bad = results.check("client x: \x00\x1b[31m\ud800", reason="\x08 <&>")
    [failure] = suite(runs.failed().model_copy(update={"checks": (bad,)})).iter("failure")
    assert failure.attrib["message"].startswith("client x: \ufffd\ufffd[31m\ufffd")
