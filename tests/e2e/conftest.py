"""Fixtures of the call tests, and the table of figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from tests.e2e.call import CallResult
from tests.e2e.report import MeasuredCall, properties, table

_MEASURED = pytest.StashKey[list[MeasuredCall]]()


class HasOutputs(Protocol):
    """What these tests need of the `stack` fixture."""

    @property
    def outputs(self) -> StackOutputs: ...


@pytest.fixture(scope="session")
def outputs(stack: HasOutputs) -> StackOutputs:
    return stack.outputs


@pytest.fixture(scope="session")
def client_network(outputs: StackOutputs) -> ClientNetwork:
    network = outputs.network_of_clients
    if network is None:
        pytest.fail(
            "`make outputs` has no client_network: call tests plug their clients into the bridge of a "
            "cluster that local/ made, and this stack runs on another"
        )
    return network


@pytest.fixture
def measured(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[str, CallResult], None]:
    """Hand in a call's figures: they are shown at the end of the run and in the JUnit report."""

    def hand_in(name: str, result: CallResult) -> None:
        call = MeasuredCall(name, result)
        request.config.stash.setdefault(_MEASURED, []).append(call)
        for key, value in properties(call).items():
            record_property(key, value)

    return hand_in


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    calls = config.stash.get(_MEASURED, [])
    if calls:
        terminalreporter.section("calls")
        terminalreporter.write(table(calls))
