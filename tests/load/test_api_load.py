"""The open-loop load on the running stack's token API: the mission's 100 tokens in a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from common.waiting import wait_until
from loadtest.api_load.process import run_api_load
from loadtest.definition.scenario import ApiLoad
from loadtest.result import ApiResult, ApiSecond
from loadtest.targets.target import Target, target_of_stack
from loadtest.targets.tokens import TokenRefused
from tests.running import RunningStack
from tests.support.speed import scaled

_TOKENS_PER_SECOND = 100
_SECONDS = 10.0
# Of 3000 requests.
_MOST_TIMEOUTS = 30


@pytest.fixture
def target(stack: RunningStack) -> Iterator[Target]:
    """The stack, and the edge's patience with this address again for the tests that follow."""
    with target_of_stack(stack.outputs) as made:
        yield made
        wait_until(
            lambda: made.admission("load_api_after", "one", publish=False, subscribe=False),
            timeout=scaled(30),
            describe="the edge to let this address ask again",
            interval=1,
            tolerate=(TokenRefused,),
        )


def _load(target: Target, per_s: float, on_second: Callable[[ApiSecond], None] = lambda _: None) -> ApiResult:
    load = ApiLoad(per_s=per_s, duration_s=_SECONDS)
    return run_api_load(target, load, on_second=on_second, stop=threading.Event())


def test_a_hundred_tokens_a_second(target: Target, record_property: Callable[[str, object], None]) -> None:
    seconds: list[ApiSecond] = []
    result = _load(target, _TOKENS_PER_SECOND, seconds.append)
    assert result.latency_ms is not None
    assert result.late_ms is not None
    for name, figure in (
        ("achieved_per_s", result.achieved_per_s),
        ("latency_p50_ms", result.latency_ms.p50),
        ("latency_p99_ms", result.latency_ms.p99),
        ("late_p99_ms", result.late_ms.p99),
    ):
        record_property(name, round(figure, 1))
    assert result.late_ms.p99 < 250, "this machine had no processor for the generator: it proves nothing"
    assert result.requests == _TOKENS_PER_SECOND * _SECONDS
    assert result.errors == {}
    assert result.achieved_per_s >= 0.99 * _TOKENS_PER_SECOND
    assert result.latency_ms.p99 < 1000
    assert len(seconds) >= _SECONDS
    assert not [name for name in target.rooms.list_names() if name.startswith("load_api")]


def test_past_the_edges_limit_each_refusal_is_counted(target: Target) -> None:
    """2000 requests in 10 s from one address: of 3000, and those of the last 10 s, the rest is refused."""
    result = _load(target, 300)
    # A machine that stalls for seconds lets some requests time out; these are no refusals.
    assert set(result.errors) - {"timeout"} == {"HTTP 429, with Retry-After"}
    assert result.errors.get("timeout", 0) <= _MOST_TIMEOUTS
    assert result.requests == 3000
    assert result.achieved_per_s < 270
