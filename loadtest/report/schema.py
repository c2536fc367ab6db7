"""docs/loadtest-report.schema.json out of the classes of a result: `python -m loadtest.report.schema`.

What a field means stands once, in the docstring of its class under "Attributes:". pydantic puts class
docstrings into a schema but not these lines, so they are moved to the fields here. A field without one
is told by the class that it holds, or by the unit in its name.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from loadtest.definition.scenario import METRICS, RUN_METRICS
from loadtest.result import SCHEMA_VERSION, RunResult

PAGE: Final = Path(__file__).parents[2] / "docs" / "loadtest-report.schema.json"
_ATTRIBUTE: Final = re.compile(r"^ {4}(?P<names>[a-z0-9_]+(?:, [a-z0-9_]+)*): (?P<text>.*)$")
# The first that fits.
_UNITS: Final = (
    ("_per_s", "per second"),
    ("_ms", "milliseconds"),
    ("_s", "seconds"),
    ("_kbps", "kbit/s, of 1000 bits"),
    ("_ratio", "0 to 1"),
    ("_gib", "GiB"),
    ("_mib", "MiB"),
)


def schema() -> dict[str, Any]:
    """The JSON schema of a report, with a description at every class and at every field that has one."""
    made = RunResult.model_json_schema(mode="serialization")
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = f"Report of a load test, schema version {SCHEMA_VERSION}"
    for model in models(RunResult):
        _describe(made if model is RunResult else made["$defs"][model.__name__], model)
    for name, meanings in (("Metric", METRICS), ("RunMetric", RUN_METRICS)):
        lines = [f"- `{metric.value}`: {meaning}" for metric, meaning in meanings.items()]
        made["$defs"][name]["description"] += "\n\n" + "\n".join(lines)
    return made


def schema_text() -> str:
    """The same as the committed file has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """`model` and every model that a field of it may hold, at any depth."""
    found: dict[type[BaseModel], None] = {}
    waiting = [model]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            inside = [inner for field in one.model_fields.values() for inner in _inside(field.annotation)]
            waiting += [inner for inner in inside if issubclass(inner, BaseModel)]
    return list(found)


def _inside(annotation: Any) -> Iterator[type[BaseModel | Enum]]:
    """The models and enumerations that a field may hold."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel | Enum):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _inside(part)


def _describe(node: dict[str, Any], model: type[BaseModel]) -> None:
    summary, attributes = split_docstring(inspect.getdoc(model) or "")
    node["description"] = summary
    for name, field in node.get("properties", {}).items():
        inner = next(_inside(model.model_fields[name].annotation), None)
        said = attributes.get(name, "") or (split_docstring(inspect.getdoc(inner) or "")[0] if inner else "")
        text = "; ".join(part for part in (said.removesuffix("."), _unit(model, name, said)) if part)
        if text:
            field["description"] = text


def _unit(model: type[BaseModel], name: str, said: str) -> str:
    """The unit in words, where the sentence does not have it already."""
    if name == "at_s" and model.__module__ == RunResult.__module__:
        return "seconds since the start of the run"
    unit = next((words for ending, words in _UNITS if name.endswith(ending)), "")
    return "" if unit.partition(",")[0] in said else unit


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """What a docstring says of the class, and of each attribute; `a, b: …` is said of both."""
    summary, _, listed = text.partition("\nAttributes:\n")
    attributes: dict[str, str] = {}
    names: list[str] = []
    for line in listed.splitlines():
        found = _ATTRIBUTE.match(line)
        if found:
            names = found["names"].split(", ")
            attributes.update(dict.fromkeys(names, found["text"]))
        elif line.strip():
            attributes.update({name: f"{attributes[name]} {line.strip()}" for name in names})
    return summary.strip(), attributes


if __name__ == "__main__":
    PAGE.write_text(schema_text())
