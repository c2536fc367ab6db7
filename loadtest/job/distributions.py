"""One distribution of several, of which only counts and quantiles are left. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loadtest.result import Distribution, distribution


def merged(parts: Sequence[Distribution]) -> Distribution:
    """The distribution of all samples together.

    Count, mean, minimum and maximum are exact. A sample between two known quantiles is taken for the
    upper one: a quantile may come out too high, by at most one percentile of its part, and never too low.
    Up to 101 samples in each part, all of it is exact.

    Raises:
        NoSamples: there is no part.
    """
    whole = distribution([sample for part in parts for sample in _samples(part)])
    mean = sum(part.mean * part.count for part in parts) / whole.count
    return whole.model_copy(update={"mean": mean})


def _samples(part: Distribution) -> npt.NDArray[np.float64]:
    """As many samples as there were, each the next higher one of which the quantiles tell."""
    # Quantile i is the sorted sample of this index: `distribution` takes the next higher sample.
    known = np.ceil(np.arange(101) * (part.count - 1) / 100).astype(int)
    return np.asarray(part.quantiles)[np.searchsorted(known, np.arange(part.count), side="left")]
