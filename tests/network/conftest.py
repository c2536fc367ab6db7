"""Fixtures for tests of links: a bridge of the test's own, and every backend that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadtest.net.bridge import ClientNetwork
from loadtest.net.emulation.backend import Backend, backends
from tests.e2e.switch import own_switch


@pytest.fixture
def network() -> Iterator[ClientNetwork]:
    with own_switch() as made:
        yield made


@pytest.fixture(params=list(Backend))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each that is there. `test_this_machine_has_a_backend` sees to it that one is."""
    wanted: Backend = request.param
    if wanted not in backends():
        pytest.skip(f"this kernel has no {wanted}")
    return wanted
