"""Counts of values by size, from which percentiles are told with an error of at most 1/32.

Values below 64 have a bucket each. Above, each doubling of the value has 32 buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

_EXACT_BITS = 6
_PER_DOUBLING = 1 << (_EXACT_BITS - 1)
_PERCENTS = (50, 95, 99)


@dataclass(frozen=True)
class Quantiles:
    """Of `samples` values, what half of them, 95 and 99 in a hundred, do not exceed."""

    samples: int
    p50: int
    p95: int
    p99: int


def bucket_of(value: int) -> int:
    """The bucket of a value, which is 0 or more."""
    shift = max(0, value.bit_length() - _EXACT_BITS)
    return shift * _PER_DOUBLING + (value >> shift)


def highest_of(bucket: int) -> int:
    """The highest value in a bucket."""
    shift = max(0, bucket // _PER_DOUBLING - 1)
    return ((bucket - shift * _PER_DOUBLING + 1) << shift) - 1


def quantiles_of(counts: Mapping[int, int]) -> Quantiles:
    """Quantiles of at least one value, counted by bucket."""
    buckets = sorted(counts)
    reached = list(accumulate(counts[bucket] for bucket in buckets))
    samples = reached[-1]

    def at(percent: int) -> int:
        rank = (samples * percent + 99) // 100
        return highest_of(
            next(bucket for bucket, count in zip(buckets, reached, strict=True) if count >= rank)
        )

    return Quantiles(samples, *(at(percent) for percent in _PERCENTS))
