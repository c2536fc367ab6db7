"""The report for CI systems: JUnit XML, one case per check.

Elements and attributes are those of the schema that Jenkins publishes (junit-10.xsd), which is what
pytest calls xunit2: properties at the suite only, texts of a case in `system-out`.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree as ET

from loadtest.report import words
from loadtest.report.advice import advice
from loadtest.result import Check, RunResult, Verdict

# XML 1.0 has no place for other control characters, not even escaped.
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ERRORS: Final = (Verdict.INVALID, Verdict.COULD_NOT_RUN)


def to_junit(result: RunResult) -> str:
    """The XML. A run that proves nothing is one error, and its checks are skipped."""
    name = f"loadtest.{result.scenario.name}.{result.profile}"
    unproved = result.verdict in _ERRORS
    failures = 0 if unproved else len(words.missed(result))
    counts = {
        "tests": str(len(result.checks) + 1),
        "failures": str(failures),
        "errors": str(int(unproved)),
        "skipped": str(len(result.checks) if unproved else 0),
        "time": f"{result.lasted_s:.3f}",
    }
    root = ET.Element("testsuites", {"name": "loadtest", **counts})
    suite = ET.SubElement(
        root, "testsuite", {"name": name, **counts, "timestamp": f"{result.started:%Y-%m-%dT%H:%M:%S}"}
    )
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(result):
        ET.SubElement(properties, "property", {"name": clean(key), "value": clean(value)})
    _validity(ET.SubElement(suite, "testcase", _case(name, "the run is valid", result.lasted_s)), result)
    for check in result.checks:
        _check(ET.SubElement(suite, "testcase", _case(name, check.threshold)), check, unproved=unproved)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def clean(text: str) -> str:
    """`text` without what XML cannot carry."""
    return _NOT_XML.sub("\ufffd", text)


def _case(suite: str, name: str, seconds: float = 0) -> dict[str, str]:
    return {"classname": suite, "name": clean(name), "time": f"{seconds:.3f}"}


def _validity(case: ET.Element, result: RunResult) -> None:
    if result.verdict in _ERRORS:
        reasons = result.invalid or (result.problem or "no reason was given",)
        message = {"message": clean(words.headline(result)), "type": result.verdict.value}
        ET.SubElement(case, "error", message).text = clean("\n".join([*reasons, *advice(result)]))
    else:
        said = "\n".join([words.headline(result), *advice(result), f"again: {result.command}"])
        ET.SubElement(case, "system-out").text = clean(said)


def _check(case: ET.Element, check: Check, *, unproved: bool) -> None:
    if unproved:
        ET.SubElement(case, "skipped", {"message": "the run proves nothing, see the error"})
    elif not check.passed:
        message = {"message": clean(words.missed_check(check)), "type": "threshold"}
        ET.SubElement(case, "failure", message).text = clean(
            f"worst client: {check.worst or '-'}\nvalue: {words.check_value(check)}\n{check.reason}"
        )
    ET.SubElement(case, "system-out").text = clean(
        f"{words.check_value(check)} (limit {words.check_limit(check)}) {check.worst}".rstrip()
    )


def _properties(result: RunResult) -> list[tuple[str, str]]:
    """What was run, and the figures: of the whole run and of each client."""
    environment = result.environment.model_dump()
    return [
        ("verdict", result.verdict.value),
        ("command", result.command),
        *((f"environment.{key}", str(value)) for key, value in environment.items()),
        *((metric.value, f"{value:g}") for metric, value in result.metrics.items()),
        *(
            (f"{client.name}.{metric.value}", f"{value:g}")
            for client in result.clients
            for metric, value in client.metrics.items()
        ),
    ]
