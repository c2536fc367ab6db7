"""The JSON report: whole there and back, described, and refused with a clear sentence."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from loadtest.report import schema
from loadtest.report.json_report import UnreadableReport, load_result, to_json
from loadtest.result import Freeze, RunResult, Second
from tests.unit.loadtest.report import runs


@pytest.mark.parametrize("name", runs.ALL)
def test_a_report_is_read_back_as_it_was_written_and_fits_its_schema(name: str, tmp_path: Path) -> None:
    result = runs.ALL[name]() if name != "soak" else runs.soak(300, 2)
    path = tmp_path / "report.json"
    path.write_text(to_json(result), encoding="utf-8")
    assert load_result(path) == result
    jsonschema.validate(json.loads(path.read_text()), json.loads(schema.PAGE.read_text()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version is 2; allowed is 1"),
        ({"schema_version": None}, "schema_version is missing; allowed is 1"),
        ({"lasted_s": "long"}, r"lasted_s: .*given was 'long'"),
        ({"unheard": 1}, "unheard: Extra inputs"),
    ],
)
def test_another_form_is_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**json.loads(to_json(runs.run())), **change}))
    with pytest.raises(UnreadableReport, match=said) as refused:
        load_result(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UnreadableReport, match=r"report\.json"):
        load_result(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableReport, match="No such file"):
        load_result(tmp_path / "none.json")


def test_the_committed_schema_is_the_generated_one() -> None:
    assert schema.PAGE.read_text() == schema.schema_text(), "`make docs` writes it anew"


def test_every_field_of_a_result_says_what_it_is() -> None:
    made = schema.schema()
    own = [model for model in schema.models(RunResult) if model.__module__ == RunResult.__module__]
    assert {RunResult, Second, Freeze} <= set(own)
    nodes = {model.__name__: made if model is RunResult else made["$defs"][model.__name__] for model in own}
    silent = [
        f"{name}.{field}"
        for name, node in nodes.items()
        for field, about in node["properties"].items()
        if not about.get("description")
    ]
    assert silent == []


def test_docstrings_are_taken_apart() -> None:
    text = "A thing.\n\nMore.\n\nAttributes:\n    a_ms, b: first\n        line goes on.\n    c: last"
    summary, attributes = schema.split_docstring(text)
    assert summary == "A thing.\n\nMore."
    assert attributes == {"a_ms": "first line goes on.", "b": "first line goes on.", "c": "last"}
