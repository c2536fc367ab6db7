"""Fixtures of the tests that break things under a call: those of the deployment tests and of the calls."""

from __future__ import annotations

from tests.deployment.conftest import disruptive_session, kubectl, node_names, nodes, platform, scratch
from tests.e2e.conftest import client_network, measured, outputs

__all__ = [
    "client_network",
    "disruptive_session",
    "kubectl",
    "measured",
    "node_names",
    "nodes",
    "outputs",
    "platform",
    "scratch",
]
