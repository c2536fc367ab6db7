import pytest

from loadtest.api_load.protocol import Answer
from loadtest.api_load.tally import api_result, api_second


def _answer(
    due_s: float, *, service_ms: float, late_ms: float = 0, waited_ms: float = 0, error: str = ""
) -> Answer:
    return Answer(due_s=due_s, late_ms=late_ms, waited_ms=waited_ms, service_ms=service_ms, error=error)


def test_latency_is_all_of_the_time_since_a_request_was_due() -> None:
    [latency] = [_answer(2, late_ms=1, waited_ms=20, service_ms=300).latency_ms]
    assert latency == 321
    result = api_result([_answer(2, late_ms=1, waited_ms=20, service_ms=300)], offered_s=10)
    assert result.latency_ms is not None
    assert result.service_ms is not None
    assert result.late_ms is not None
    found = (result.latency_ms.p50, result.service_ms.p50, result.late_ms.p50)
    assert found == (321, 300, 1)


def test_what_was_answered_after_the_load_has_not_kept_up() -> None:
    answers = [_answer(second, service_ms=4500) for second in range(10)]
    result = api_result(answers, offered_s=10)
    assert result.offered_per_s == 1
    assert result.achieved_per_s == pytest.approx(0.6)  # the last four came after 10 s


def test_quick_refusals_make_no_latency_better() -> None:
    refused = [_answer(1, service_ms=1, error="HTTP 503") for _ in range(9)]
    result = api_result([*refused, _answer(1, service_ms=900)], offered_s=10)
    assert result.latency_ms is not None
    assert (result.latency_ms.count, result.latency_ms.minimum) == (1, 900)
    assert result.errors == {"HTTP 503": 9}
    assert result.late_ms is not None
    assert result.late_ms.count == 10


def test_a_timeout_counts_with_its_full_time() -> None:
    result = api_result([_answer(1, service_ms=10_000, error="timeout")], offered_s=10)
    assert result.latency_ms is not None
    assert result.latency_ms.maximum == 10_000


def test_no_request_at_all_is_no_division_by_zero() -> None:
    result = api_result([], offered_s=0)
    assert (result.requests, result.offered_per_s, result.latency_ms) == (0, 0, None)


def test_a_second_tells_what_ended_in_it() -> None:
    ended = [_answer(0, service_ms=10), _answer(0, service_ms=30), _answer(0, service_ms=1, error="HTTP 429")]
    second = api_second(3, ended)
    assert (second.at_s, second.answers, second.errors) == (3, 2, 1)
    assert (second.latency_p50_ms, second.latency_max_ms) == (30, 30)
    assert api_second(4, []).latency_p50_ms is None
