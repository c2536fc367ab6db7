"""How much slower this machine is now than the reference machine, and time limits scaled by that.

The reference machine has two cores. A run measures the factor once, on all cores at the same time, so that a
slow processor and other work on the machine both raise it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from functools import cache

# One measurement on the quiet reference machine: `python -m tests.support.speed`.
REFERENCE_SECONDS = 0.42
# Carries the factor to pytest's workers and to commands that tests start.
VARIABLE = "LKP_TESTS_SLOWNESS"
_MEASUREMENTS = 3
# Pure Python on small integers: it needs no memory bandwidth and no disk. It prints its own wall time.
_WORK = """
import time
started = time.perf_counter()
total = 0
for number in range(3_000_000):
    total = (total * 31 + number) % 1_000_003
print(time.perf_counter() - started)
"""


def measure() -> float:
    """Measure the slowness now: 1.0 on the quiet reference machine, 2.0 if work takes twice as long.

    Takes a second or two. Uses every core, so never call it while another test is timed.
    """
    samples = [_one_measurement() for _ in range(_MEASUREMENTS)]
    return statistics.median(samples) / REFERENCE_SECONDS


def _one_measurement() -> float:
    """Start one worker process per core; returns the wall time of the slowest one, in seconds."""
    command = [sys.executable, "-S", "-c", _WORK]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(os.cpu_count() or 1)
    ]
    return max(float(worker.communicate(timeout=120)[0]) for worker in workers)


@cache
def slowness() -> float:
    """The factor of this run: taken from the environment if the run has measured it already."""
    given = os.environ.get(VARIABLE)
    if given is None:
        given = os.environ[VARIABLE] = f"{measure():.3f}"
    return float(given)


def scaled(seconds: float) -> float:
    """A time limit for this machine, never less than `seconds`, which suffices on the reference machine."""
    return seconds * max(1.0, slowness())


if __name__ == "__main__":
    factor = measure()
    print(f"{factor * REFERENCE_SECONDS:.3f} s; slowness {factor:.2f}")
