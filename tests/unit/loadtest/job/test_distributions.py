"""Merging distributions: exact where it can be, never too low, never more than a percentile too high."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.job.distributions import merged
from loadtest.result import NoSamples, distribution

_SAMPLES = st.lists(st.floats(0, 1e6), min_size=1, max_size=400)


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=101), min_size=1, max_size=5))
def test_of_up_to_101_samples_nothing_is_lost(parts: list[list[float]]) -> None:
    exact = distribution([sample for part in parts for sample in part])
    found = merged([distribution(part) for part in parts])
    assert found.quantiles == exact.quantiles
    assert found.mean == pytest.approx(exact.mean)


@given(st.lists(_SAMPLES, min_size=1, max_size=4))
def test_of_more_it_is_never_too_low_and_at_most_a_percentile_too_high(parts: list[list[float]]) -> None:
    everything = sorted(sample for part in parts for sample in part)
    exact, found = distribution(everything), merged([distribution(part) for part in parts])
    assert (found.count, found.minimum, found.maximum) == (exact.count, exact.minimum, exact.maximum)
    assert found.mean == pytest.approx(exact.mean)
    # A part's sample is taken for one at most a hundredth of the part further up.
    slack = sum(len(part) // 100 + 1 for part in parts)
    for quantile in range(101):
        index = int(np.ceil(quantile * (len(everything) - 1) / 100))
        highest = everything[min(index + slack, len(everything) - 1)]
        assert everything[index] <= found.quantiles[quantile] <= highest


def test_the_99th_percentile_is_between_those_of_the_parts() -> None:
    random = np.random.default_rng(3)
    quick, slow = random.exponential(10, 20_000), random.exponential(40, 20_000)
    parts = [distribution(list(quick)), distribution(list(slow))]
    exact = distribution([*quick, *slow])
    assert merged(parts).mean == pytest.approx(exact.mean, rel=1e-9)
    assert exact.p99 <= merged(parts).p99 <= max(part.p99 for part in parts)


def test_a_small_part_does_not_count_as_much_as_a_large_one() -> None:
    found = merged([distribution([1000.0]), distribution([1.0] * 999)])
    assert found.p99 == 1.0
    assert found.mean == pytest.approx(1.999)


def test_nothing_has_no_distribution() -> None:
    with pytest.raises(NoSamples):
        merged([])
