"""Order of the layers, and the one stack that all tests of a session share."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from loadtest.net.namespace import treat_sigterm_as_interrupt
from tests import running
from tests.running import ClusterAccess, RunningStack

# From fast and narrow to slow and wide: what is broken at the bottom is read first.
_LAYERS = (
    *("unit", "images", "manifests", "services", "stack_secrets", "network", "token_api", "plugins"),
    *("deployment", "e2e", "load", "chaos", "teardown"),
)
_STACK = pytest.StashKey[RunningStack]()
_STARTED_HERE = pytest.StashKey[bool]()

# A busy machine is no bug: hypothesis judges what an example does, not how long it takes.
hypothesis.settings.register_profile("platform", deadline=None)
hypothesis.settings.load_profile("platform")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent

    def layer(item: pytest.Item) -> int:
        return _LAYERS.index(item.path.relative_to(root).parts[0])

    items.sort(key=layer)


@pytest.fixture(scope="session", autouse=True)
def _nothing_survives_sigterm() -> None:
    """It ends the session as Ctrl-C does: with its teardowns, and `pytest_sessionfinish` below."""
    treat_sigterm_as_interrupt()


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> RunningStack:
    """The stack under test; see `tests.running`."""
    if _STACK not in pytestconfig.stash:
        capture = pytestconfig.pluginmanager.getplugin("capturemanager")
        assert capture is not None
        # Minutes of silence look like a hang.
        with capture.global_and_fixture_disabled():
            print("\nbringing the stack up …", flush=True)
            # Noted first: a start that fails half-way is taken down, too.
            pytestconfig.stash[_STARTED_HERE] = not running.is_running()
            running.up()
        outputs = running.read_outputs()
        pytestconfig.stash[_STACK] = RunningStack(outputs, pytestconfig.stash[_STARTED_HERE])
    return pytestconfig.stash[_STACK]


@pytest.fixture(scope="session")
def cluster(stack: RunningStack) -> ClusterAccess:
    """The cluster that the stack is deployed on."""
    kubectl = shutil.which("kubectl")
    assert kubectl, "run the tests by `make test`, which puts this checkout's tools on PATH"
    return ClusterAccess(
        kubeconfig=stack.outputs.kubeconfig_path,
        tools=Path(kubectl).parent,
        made_here=stack.outputs.client_network is not None,
    )


@pytest.fixture
def disruptive(cluster: ClusterAccess) -> None:
    """For a test that breaks things on purpose: it refuses a cluster that is not ours to break."""
    if not cluster.made_here:
        pytest.fail("this test disrupts its cluster, and this one was not made by local/")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Take down what this session started, also when it was interrupted."""
    try:
        yield
    finally:
        if session.config.stash.get(_STARTED_HERE, False) and running.is_running():
            running.down()
