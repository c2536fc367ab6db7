"""A failure in a loop stops nothing else, is logged, and is raised at the end."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from token_api.failures import Failures
from token_api.problems import Kind, ProblemError


def loop(*outcomes: Exception | None) -> tuple[Failures, list[int]]:
    """Go through these; which ones were begun."""
    failures, begun = Failures(), []
    for number, outcome in enumerate(outcomes):
        with failures.apart("not_done", number=number):
            begun.append(number)
            if outcome is not None:
                raise outcome
    return failures, begun


def test_all_are_done_and_the_first_failure_is_raised() -> None:
    first, second = (ProblemError(Kind.LIVEKIT_UNAVAILABLE, text) for text in ("first", "second"))
    with capture_logs() as logs:
        failures, begun = loop(None, first, None, second, None)
    assert begun == [0, 1, 2, 3, 4]
    assert [(entry["event"], entry["number"], entry["error"]) for entry in logs] == [
        ("not_done", 1, "LIVEKIT_UNAVAILABLE"),
        ("not_done", 3, "LIVEKIT_UNAVAILABLE"),
    ]
    assert failures.happened
    with pytest.raises(ProblemError, match="first"):
        failures.raise_one()


def test_a_mistake_of_ours_is_raised_rather_than_that_livekit_is_away() -> None:
    with capture_logs() as logs:
        failures, _ = loop(ProblemError(Kind.LIVEKIT_UNAVAILABLE, "away"), ValueError("wrong"))
    assert [(entry["error"], bool(entry.get("exc_info"))) for entry in logs] == [
        ("LIVEKIT_UNAVAILABLE", False),
        ("ValueError", True),
    ]
    with pytest.raises(ValueError, match="wrong"):
        failures.raise_one()


def test_the_traceback_of_a_failure_in_a_loop_within_a_loop_is_logged_once() -> None:
    outer = Failures()
    with capture_logs() as logs:
        with outer.apart("outer"):
            loop(ValueError("wrong"))[0].raise_one()
        with pytest.raises(ValueError, match="wrong"):
            outer.raise_one()
    assert [(entry["event"], entry["exc_info"]) for entry in logs] == [("not_done", True), ("outer", False)]


def test_without_a_failure_nothing_is_raised() -> None:
    failures, _ = loop(None, None)
    assert not failures.happened
    failures.raise_one()


def test_an_interruption_is_no_failure() -> None:
    failures = Failures()
    with pytest.raises(KeyboardInterrupt), failures.apart("not_done"):
        raise KeyboardInterrupt
    assert not failures.happened
