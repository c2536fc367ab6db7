"""The stacks of the repository: complete but for what only an owner has, and safe where they must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from livekit_platform.config import PlatformConfig
from tests.unit.infra.program import STACKS, checked_in_config, parse_completed, stack_config

# What a stack file cannot hold, for it is different for everybody.
_OWNERS = {
    "kubeconfig",
    "domain",
    "nodes",
    "images",
    "edge.tls.issuer.name",
    "object_store.external.endpoint",
}


@pytest.fixture(params=STACKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(name: str, kubeconfig: Path) -> PlatformConfig:
    found, mistakes = parse_completed(stack_config(name, kubeconfig))
    assert found is not None, mistakes
    return found


@pytest.mark.parametrize("given", ["staging", "production"])
def test_what_is_missing_is_named_and_is_only_what_an_owner_knows(given: str) -> None:
    _, mistakes = parse_completed(checked_in_config(given))
    assert {mistake.key for mistake in mistakes} == _OWNERS


def test_a_stack_says_which_environment_it_is(name: str, config: PlatformConfig) -> None:
    assert config.environment == name


def test_away_from_this_machine_nothing_hangs_on_one_pod_or_one_volume(
    name: str, config: PlatformConfig
) -> None:
    if name == "local":
        return
    assert config.redis.kind in ("sentinel", "external")
    assert config.object_store.kind == "external"
    assert config.database.kind == "external"
    assert config.token_api.replicas_with(config.database) >= 2
    assert len(config.turn_nodes) >= 2
    assert len(config.edge_nodes) >= 2


def test_away_from_this_machine_certificates_are_trusted_and_nothing_is_plain(
    name: str, config: PlatformConfig
) -> None:
    if name == "local":
        return
    assert config.edge.tls.kind in ("cert_manager", "secret")
    assert config.edge.plain_localhost is False
