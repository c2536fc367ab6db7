"""A livestream on the running stack is recorded under load, and its file evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.definition.scenario import RunMetric
from loadtest.result import EXIT_CODES, Verdict
from tests.load.command import run_on_the_stack

pytestmark = pytest.mark.long
_SECONDS = 15


def test_a_livestream_is_recorded(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    settings = {"duration_s": _SECONDS, "creator.profile": "ideal"}
    ended = run_on_the_stack(tmp_path / "out", "recording", "--profile", "ideal", settings=settings)
    assert ended.code_on_a_quiet_machine == EXIT_CODES[Verdict.PASSED], ended.shown
    recording = ended.result.recording
    assert recording is not None
    assert recording.status == "EGRESS_COMPLETE"
    assert recording.media is not None
    assert recording.media.duration_s >= _SECONDS
    assert recording.egress_id in ended.shown
    assert not [note for note in ended.result.notes if "deleted" in note]
    for metric in (metric for metric in RunMetric if metric.startswith("recording_")):
        record_property(metric, round(ended.result.metrics[metric], 3))
