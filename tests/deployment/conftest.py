"""Fixtures of the deployment tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import testinfra.host

from tests.deployment.kubectl import Kubectl
from tests.deployment.node_backend import node_host
from tests.running import ClusterAccess, RunningStack


@pytest.fixture(scope="session")
def kubectl(cluster: ClusterAccess) -> Kubectl:
    """kubectl on the cluster, without what killed sessions left there: it may hold ports of the nodes."""
    made = Kubectl(cluster)
    made.reap()
    return made


@pytest.fixture(scope="session")
def platform(stack: RunningStack) -> str:
    """The namespace that the platform is deployed in."""
    return stack.outputs.namespace


@pytest.fixture(scope="session")
def node_names(kubectl: Kubectl) -> list[str]:
    return [node["metadata"]["name"] for node in kubectl.get("nodes")]


@pytest.fixture(scope="session")
def nodes(node_names: list[str], disruptive_session: None) -> list[testinfra.host.Host]:
    """Every node as a testinfra host."""
    return [node_host(name) for name in node_names]


@pytest.fixture(scope="session")
def disruptive_session(cluster: ClusterAccess) -> None:
    """Entering a node as root takes a cluster that local/ made."""
    if not cluster.made_here:
        pytest.fail("this test enters nodes, and this cluster was not made by local/")


@pytest.fixture(scope="module")
def scratch(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for the pods of one test file.

    The next file does not wait for its deletion, because each file's namespace has a different name.
    """
    name = f"test-{request.path.stem.removeprefix('test_').replace('_', '-')}-{os.getpid()}"
    with kubectl.namespace(name, wait=False):
        yield name
