"""What the report says of the machine."""

from __future__ import annotations

import platform

from loadtest.run.environment import memory_gib, processor_model


def test_the_processor_by_its_model() -> None:
    assert processor_model("processor\t: 0\nmodel name\t: EPYC 9999\nprocessor\t: 1\n") == "EPYC 9999"


def test_a_processor_without_a_model_is_its_architecture() -> None:
    assert processor_model("processor\t: 0\nBogoMIPS\t: 48.00\n") == platform.machine()


def test_the_memory() -> None:
    assert memory_gib("MemTotal:       16777216 kB\nMemFree: 1 kB\n") == 16.0
