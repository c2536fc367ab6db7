"""The report for programs: a run's result as JSON, and back."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from loadtest.result import SCHEMA_VERSION, RunResult


class UnreadableReport(Exception):
    """A file is no report that this version reads; the message names the file and what is wrong."""


def to_json(result: RunResult) -> str:
    """The result as its schema (docs/loadtest-report.schema.json) has it."""
    return result.model_dump_json(indent=1) + "\n"


def load_result(path: Path) -> RunResult:
    """Read a report.

    Raises:
        UnreadableReport: there is none, it is of another schema version, or it does not fit the schema.
    """
    try:
        text = path.read_text(encoding="utf-8")
        given = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableReport(f"{path} cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise UnreadableReport(f"{path} is not JSON: {error}; allowed is the report.json of a run") from error
    version = given.get("schema_version") if isinstance(given, dict) else None
    if version != SCHEMA_VERSION:
        raise UnreadableReport(
            f"{path}: schema_version is {'missing' if version is None else version}; "
            f"allowed is {SCHEMA_VERSION}, which is what this version reads"
        )
    try:
        return RunResult.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnreadableReport(
            f"{path}: {where}: {first['msg']}, given was {first['input']!r:.80} "
            f"({error.error_count()} mistakes in all)"
        ) from error
