"""What the contract tests run on: a cluster, the real engine, and our plugins on its PATH."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from local.plugins.shims import write_shims
from tests.deployment.kubectl import Kubectl
from tests.plugins.stack import Stack
from tests.running import ClusterAccess


@pytest.fixture(scope="session")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the executables of our two plugins."""
    directory = tmp_path_factory.mktemp("shims")
    write_shims(directory, Path(sys.executable), Path(__file__).parents[2])
    return directory


@pytest.fixture
def _engine(cluster: ClusterAccess, shims: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine on PATH, with our plugins, and off the network."""
    # `make test` runs in the environment of the platform's stack: none of that is for these.
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{cluster.tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
    monkeypatch.setenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.fixture(scope="session")
def api(cluster: ClusterAccess) -> Any:
    """A client of the cluster that shares nothing with the provider under test but its library."""
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
def make_scratch(
    _engine: None, cluster: ClusterAccess, namespace: str, tmp_path: Path
) -> Callable[..., Stack]:
    """Makes stacks in the test's namespace, each with a state of its own."""

    def make(name: str = "stack", **provider: Any) -> Stack:
        made = Stack(tmp_path / name, cluster.kubeconfig, namespace)
        made.provider = provider or made.provider
        return made

    return make


@pytest.fixture
def scratch(make_scratch: Callable[..., Stack]) -> Stack:
    """An empty stack whose provider changes ConfigMaps and Secrets in place, as ours does."""
    return make_scratch()
