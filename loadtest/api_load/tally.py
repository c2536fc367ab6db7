"""From the answers to figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from loadtest.api_load.judge import TIMEOUT
from loadtest.api_load.protocol import Answer
from loadtest.result import ApiResult, ApiSecond, Distribution, distribution


def api_result(
    answers: Sequence[Answer], *, offered_s: float, seconds: Sequence[ApiSecond] = ()
) -> ApiResult:
    """The figures of a whole load.

    Args:
        offered_s: for how long requests were due. What is answered after that has not kept up, and is
            not part of the achieved rate.
    """
    counted = [answer for answer in answers if _shows_latency(answer)]
    in_time = sum(1 for answer in answers if not answer.error and answer.ended_s <= offered_s)
    return ApiResult(
        offered_per_s=len(answers) / offered_s if offered_s else 0.0,
        achieved_per_s=in_time / offered_s if offered_s else 0.0,
        requests=len(answers),
        latency_ms=_distribution([answer.latency_ms for answer in counted]),
        service_ms=_distribution([answer.service_ms for answer in counted]),
        late_ms=_distribution([answer.late_ms for answer in answers]),
        errors=dict(Counter(answer.error for answer in answers if answer.error)),
        seconds=tuple(seconds),
    )


def api_second(at_s: float, answers: Sequence[Answer]) -> ApiSecond:
    """The second that ends at `at_s`, of the answers that ended in it."""
    latencies = _distribution([answer.latency_ms for answer in answers if _shows_latency(answer)])
    errors = sum(1 for answer in answers if answer.error)
    return ApiSecond(
        at_s=at_s,
        answers=len(answers) - errors,
        errors=errors,
        latency_p50_ms=latencies.p50 if latencies else None,
        latency_max_ms=latencies.maximum if latencies else None,
    )


def _shows_latency(answer: Answer) -> bool:
    """Wanted answers, and timeouts: a refusal that comes at once would make slow answers look better."""
    return not answer.error or answer.error == TIMEOUT


def _distribution(samples: Sequence[float]) -> Distribution | None:
    return distribution(samples) if samples else None
