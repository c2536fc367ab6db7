"""Fixtures of the deployment tests, and what a failed one shows."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
import testinfra.host

from tests.deployment.kubectl import Kubectl
from tests.deployment.node_backend import node_host
from tests.running import ClusterAccess, RunningStack

_SHOWN_LINES = 40


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what an engineer would look up next, of every namespace the test looked at."""
    report = yield
    used = getattr(item, "funcargs", {})
    kubectl = used.get("kubectl")
    if report.failed and isinstance(kubectl, Kubectl):
        for namespace in filter(None, [used.get("platform"), used.get("scratch")]):
            report.sections.extend(_evidence(kubectl, namespace))
        report.sections.append(("to reproduce", f"python3 -m local run -- python -m pytest '{item.nodeid}'"))
    return report


def _evidence(kubectl: Kubectl, namespace: str) -> Iterator[tuple[str, str]]:
    for title, words in {
        "pods": ["get", "pods", "-o", "wide"],
        "events": ["get", "events", "--sort-by=.lastTimestamp"],
        "logs": ["logs", "--all-containers", "--prefix", "--tail=15", "-l", "!none"],
    }.items():
        done = kubectl("-n", namespace, *words, check=False)
        lines = (done.stdout or done.stderr).splitlines()
        yield f"{title} of namespace {namespace}", "\n".join(lines[-_SHOWN_LINES:])
