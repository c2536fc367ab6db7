"""The dynamic provider of generated secrets."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

from pulumi.dynamic.dynamic import serialize_provider

from livekit_platform.random_secret import RandomSecretProvider
from tests.unit.infra.program import CHECKOUT


def value_of(outs: dict[str, object] | None) -> str:
    assert outs is not None
    value = outs["value"]
    assert isinstance(value, str)
    return value


def test_every_value_is_256_bits_of_its_own() -> None:
    provider = RandomSecretProvider()
    values = [value_of(provider.create({"generation": 1.0}).outs) for _ in range(50)]
    assert len(set(values)) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)


def test_the_value_stays_until_the_generation_changes() -> None:
    provider = RandomSecretProvider()
    olds = provider.create({"generation": 1.0}).outs
    assert olds is not None
    same = provider.diff("id", olds, {"generation": 1.0, "__provider": "another serialized form"})
    assert (same.changes, same.replaces) == (False, [])
    raised = provider.diff("id", olds, {"generation": 2.0})
    assert (raised.changes, raised.replaces) == (True, [])
    renewed = provider.update("id", olds, {"generation": 2.0}).outs
    assert renewed is not None
    assert renewed["generation"] == 2.0
    assert value_of(renewed) != value_of(olds)


def test_a_refresh_keeps_the_value() -> None:
    state = {"generation": 1.0, "value": "v", "__provider": "p"}
    assert RandomSecretProvider().read("id", state).outs == state


def test_the_provider_is_serialized_by_reference_and_alike_in_every_process() -> None:
    serialized = serialize_provider(RandomSecretProvider())
    assert b"livekit_platform.random_secret" in base64.b64decode(serialized)
    # By value the code itself would be in it, and every edit would be a change of every secret.
    assert len(base64.b64decode(serialized)) < 200
    assert serialized == _in_another_process(CHECKOUT / "infra")


def _in_another_process(infra: Path) -> str:
    code = (
        "from pulumi.dynamic.dynamic import serialize_provider\n"
        "from livekit_platform.random_secret import RandomSecretProvider\n"
        "print(serialize_provider(RandomSecretProvider()), end='')"
    )
    # In infra/, as the engine runs the program and the dynamic provider's plugin.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=infra, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout
