"""Every test here gets a cache and a state directory of its own: none sees those of a real stack."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.paths import Instance, state_root


@dataclass(frozen=True)
class Home:
    """Where the code under test keeps things, and the environment as it was before."""

    cache: Path
    state: Path
    environment: Mapping[str, str]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Home:
    before = dict(os.environ)
    made = Home(tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("state"), before)
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.cache))
    monkeypatch.setenv("XDG_STATE_HOME", str(made.state))
    for name in ("LKP_INSTANCE", "LKP_KUBECONFIG", "LKP_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def instance() -> Instance:
    return Instance("abc123", state_root() / "abc123")
