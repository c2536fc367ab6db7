"""The order of the layers, the one stack that all tests of a session share, and the time per layer."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from loadtest.net.namespace import treat_sigterm_as_interrupt
from tests import failure_report, running
from tests.deployment.kubectl import Kubectl
from tests.running import ClusterAccess, RunningStack
from tests.support import speed
from tests.support.layer_times import LayerTimes
from tests.support.layers import LAYERS, Part, layer_of, part_of

_STACK = pytest.StashKey[RunningStack]()
# Whether this session takes the stack down at its end.
_TAKE_DOWN = pytest.StashKey[bool]()

# A busy machine is no bug: hypothesis judges what an example does, not how long it takes.
hypothesis.settings.register_profile("platform", deadline=None)
hypothesis.settings.load_profile("platform")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        choices=[part.value for part in Part],
        help="run only the tests of this part; see `Part` in tests/support/layers.py",
    )
    parser.addoption("--layer-times", type=Path, help="append the time per layer to this file of JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        if config.getoption("numprocesses", None):
            speed.slowness()  # before the workers start, which would disturb the measurement
        config.pluginmanager.register(LayerTimes(config.getoption("layer_times")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_place)
    wanted = config.getoption("part")
    if wanted is not None:
        part = Part(wanted)
        kept = [item for item in items if _part(item) is part]
        config.hook.pytest_deselected(items=[item for item in items if _part(item) is not part])
        if part is Part.ISOLATED:
            # The files that take longest come first, so that both workers finish at about the same time.
            kept.sort(key=_place, reverse=True)
        items[:] = kept


def _place(item: pytest.Item) -> int:
    return LAYERS.index(layer_of(item.nodeid))


def _part(item: pytest.Item) -> Part:
    markers = {marker.name for marker in item.iter_markers()}
    return part_of(item.nodeid, getattr(item, "fixturenames", []), markers)


@pytest.fixture(scope="session", autouse=True)
def _machine_speed() -> None:
    """Measure the machine's speed before the first test, and never while one is timed."""
    speed.slowness()


@pytest.fixture(scope="session", autouse=True)
def _sigterm_runs_teardowns() -> None:
    """Make SIGTERM end the session as Ctrl-C does, with all teardowns and `pytest_sessionfinish` below.

    If a shell starts the session in the background, the session ignores SIGINT, and its children would
    inherit this.
    """
    treat_sigterm_as_interrupt()
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> RunningStack:
    """The stack under test; see `tests.running`."""
    if _STACK not in pytestconfig.stash:
        capture = pytestconfig.pluginmanager.getplugin("capturemanager")
        assert capture is not None
        by_the_suite = os.environ.get(running.STARTED_BY_THE_SUITE)
        # The suite takes its stack down itself, after the last session.
        pytestconfig.stash[_TAKE_DOWN] = False
        if by_the_suite is None:
            # Print this, because minutes without output look like a hang.
            with capture.global_and_fixture_disabled():
                print("\nbringing the stack up …", flush=True)
                # Set this first, so that a stack is also taken down if its start fails half-way.
                pytestconfig.stash[_TAKE_DOWN] = not running.is_running()
                running.up()
        started_here = by_the_suite == "yes" or pytestconfig.stash[_TAKE_DOWN]
        pytestconfig.stash[_STACK] = RunningStack(running.read_outputs(), started_here)
    return pytestconfig.stash[_STACK]


@pytest.fixture(scope="session")
def cluster(stack: RunningStack) -> ClusterAccess:
    """The cluster that the stack is deployed on."""
    return _access(stack)


def _access(stack: RunningStack) -> ClusterAccess:
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
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what an engineer would look up next."""
    report = yield
    if report.failed:
        stack = item.config.stash.get(_STACK, None)
        kubectl, namespaces = None, []
        if stack is not None and "stack" in getattr(item, "fixturenames", []):
            kubectl = Kubectl(_access(stack))
            scratch = getattr(item, "funcargs", {}).get("scratch")
            namespaces = [stack.outputs.namespace, *([scratch] if scratch else [])]
        report.sections.extend(failure_report.sections(item, kubectl, namespaces))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Take down what this session started, also when it was interrupted."""
    try:
        yield
    finally:
        if session.config.stash.get(_TAKE_DOWN, False) and running.is_running():
            running.down()
