"""Fixtures of the program's unit tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from livekit_platform.config import PlatformConfig
from tests.unit.infra.program import minimal_config, parse_completed

ConfigMaker = Callable[..., PlatformConfig]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A file that exists: nothing reads it under mocks."""
    path = tmp_path / "kubeconfig"
    path.touch()
    return path


@pytest.fixture(scope="module")
def shared_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for fixtures that run the program once for all tests of a module."""
    path = tmp_path_factory.mktemp("program") / "kubeconfig"
    path.touch()
    return path


@pytest.fixture
def make_config(kubeconfig: Path) -> ConfigMaker:
    """Makes a valid configuration out of the minimal one and `changes` (key -> value)."""

    def make(**changes: Any) -> PlatformConfig:
        config, mistakes = parse_completed({**minimal_config(kubeconfig), **changes})
        assert config is not None, mistakes
        return config

    return make
