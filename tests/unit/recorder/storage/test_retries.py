"""When a failed request is repeated."""

from __future__ import annotations

import math

import pytest

from recorder.storage.retries import Retries
from recorder.storage.s3_errors import Meaning
from recorder.storage.target import S3Target

TARGET = S3Target("recordings", max_retries=3, min_retry_delay=0.1, max_retry_delay=5.0)


def attempts(meaning: Meaning, *, seconds_apart: float, patience: float = math.inf) -> int:
    """How often a request is sent that always fails, at most 1000 times."""
    retries = Retries(TARGET)
    for count in range(1, 1001):
        if not retries.failed("a", meaning, now=count * seconds_apart, patience=patience):
            return count
    return 1000


def test_a_store_that_is_away_is_tried_for_as_long_as_the_caller_waits() -> None:
    assert attempts(Meaning.UNREACHABLE, seconds_apart=60) == 1000
    # The first attempt is at second 0 of the outage, the fourth one at second 30.
    assert attempts(Meaning.UNREACHABLE, seconds_apart=10, patience=30) == 4
    assert attempts(Meaning.UNREACHABLE, seconds_apart=10, patience=0) == 1


def test_the_patience_begins_anew_after_a_success() -> None:
    retries = Retries(TARGET)
    assert retries.failed("a", Meaning.UNREACHABLE, now=0, patience=30)
    assert retries.failed("a", Meaning.UNREACHABLE, now=29, patience=30)
    retries.succeeded()
    assert retries.failed("a", Meaning.UNREACHABLE, now=100, patience=30)
    assert not retries.failed("a", Meaning.UNREACHABLE, now=130, patience=30)


def test_a_doubtful_answer_has_max_retries_attempts() -> None:
    assert attempts(Meaning.DOUBTFUL, seconds_apart=1) == 3


def test_a_refusal_is_not_repeated() -> None:
    assert attempts(Meaning.REFUSED, seconds_apart=1) == 1


def test_an_outage_does_not_use_up_the_attempts_of_a_doubtful_answer() -> None:
    retries = Retries(TARGET)
    for _ in range(10):
        assert retries.failed("a", Meaning.UNREACHABLE, now=0, patience=30)
    assert retries.failed("a", Meaning.DOUBTFUL, now=0, patience=30)


def test_a_store_that_loses_each_upload_is_given_up_although_beginning_one_succeeds() -> None:
    retries = Retries(TARGET)
    outcomes = []
    for _ in range(3):
        retries.succeeded()
        outcomes.append(retries.failed("a", Meaning.NO_UPLOAD, now=0, patience=30))
    assert outcomes == [True, True, False]
    assert retries.failed("b", Meaning.NO_UPLOAD, now=0, patience=30), "each object has its own attempts"


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [(1, 0.1, 0.2), (2, 0.2, 0.4), (5, 1.6, 3.2), (9, 2.5, 5), (5000, 2.5, 5)],
)
def test_delays_double_between_the_limits_and_have_jitter(
    failures: int, shortest: float, longest: float
) -> None:
    retries = Retries(TARGET)
    for _ in range(failures):
        retries.failed("a", Meaning.UNREACHABLE, now=0, patience=30)
    assert retries.delay(0.0) == pytest.approx(shortest)
    assert retries.delay(1.0) == pytest.approx(longest)
