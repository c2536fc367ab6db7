"""Values counted by size."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from token_api.domain.histogram import Quantiles, bucket_of, highest_of, quantiles_of


def test_small_values_are_exact_and_all_buckets_are_used() -> None:
    buckets = [bucket_of(value) for value in range(5000)]
    assert buckets[:64] == list(range(64))
    assert sorted(set(buckets)) == list(range(max(buckets) + 1))
    # The largest value of telemetry: so many rows at most for a metric of a session.
    assert bucket_of(1_000_000) < 512


@given(st.integers(0, 10**9))
def test_a_bucket_is_at_most_one_part_in_32_wide(value: int) -> None:
    highest = highest_of(bucket_of(value))
    assert value <= highest <= value * (1 + 1 / 32)
    assert bucket_of(highest) == bucket_of(value)
    assert bucket_of(highest + 1) == bucket_of(value) + 1


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=300))
def test_quantiles_are_those_of_the_sorted_values(values: list[int]) -> None:
    found = quantiles_of(Counter(map(bucket_of, values)))
    assert found.samples == len(values)
    for percent, quantile in ((50, found.p50), (95, found.p95), (99, found.p99)):
        exact = sorted(values)[-(-len(values) * percent // 100) - 1]
        assert quantile == highest_of(bucket_of(exact))


def test_one_value_is_all_its_quantiles() -> None:
    assert quantiles_of({7: 1}) == Quantiles(1, 7, 7, 7)
