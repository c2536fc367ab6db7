"""Fixtures of these tests: a cluster, the real engine, the official provider and our language host."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from local.plugins.shims import write_shim
from local.toolchain.kubernetes_provider import NAME
from tests.deployment.kubectl import Kubectl
from tests.plugins.stack import Stack
from tests.running import ClusterAccess


@pytest.fixture(scope="session")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the executable of our language host."""
    directory = tmp_path_factory.mktemp("shims")
    write_shim(directory, Path(sys.executable), Path(__file__).parents[2])
    return directory


@pytest.fixture
def _engine(cluster: ClusterAccess, shims: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables for the engine: no network access, our plugins, and the provider that `make up` chose."""
    assert shutil.which(NAME), "run the tests by `make test`, which puts the provider on PATH"
    # `make test` runs in the environment of the platform's stack: none of that is for these.
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{cluster.tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
    monkeypatch.setenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.fixture(scope="session")
def api(cluster: ClusterAccess) -> Any:
    """A client of the cluster."""
    load: Any = kubernetes.config.new_client_from_config
    return load(str(cluster.kubeconfig))


@pytest.fixture
def core(api: Any) -> Any:
    """The core API of the cluster."""
    return kubernetes.client.CoreV1Api(api)


@pytest.fixture
def apps(api: Any) -> Any:
    """The apps API of the cluster."""
    return kubernetes.client.AppsV1Api(api)


@pytest.fixture
def namespace(cluster: ClusterAccess) -> Iterator[str]:
    """The name of a fresh namespace, which goes with the test."""
    with Kubectl(cluster).namespace(f"plugins-{secrets.token_hex(4)}", wait=False) as name:
        yield name


@pytest.fixture
def scratch(_engine: None, cluster: ClusterAccess, namespace: str, tmp_path: Path) -> Stack:
    """An empty stack with the provider's options of the platform."""
    return Stack(tmp_path / "stack", cluster.kubeconfig, namespace)
