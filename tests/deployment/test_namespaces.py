"""The tests' own namespaces: what a killed session left goes, and what anybody may still use stays."""

from __future__ import annotations

import os
import subprocess

import pytest

from common.processes import Process, process_of
from tests.deployment.kubectl import Kubectl
from tests.deployment.owners import is_left_over, labels_of, own_labels

pytestmark = pytest.mark.own_namespace


@pytest.fixture
def dead() -> Process:
    with subprocess.Popen(["sleep", "60"]) as process:
        found = process_of(process.pid)
        process.kill()
    assert found is not None
    return found


def test_a_session_removes_what_a_dead_one_left_before_it_makes_its_own(
    kubectl: Kubectl, dead: Process
) -> None:
    name = f"test-left-over-{os.getpid()}"
    with kubectl.namespace(f"{name}-in-use", wait=False) as in_use:
        kubectl("create", "namespace", name)
        kubectl("label", "namespace", name, *(f"{key}={value}" for key, value in labels_of(dead).items()))
        with kubectl.namespace(f"{name}-next", wait=False) as following:
            there = {item["metadata"]["name"] for item in kubectl.get("namespaces")}
    assert {in_use, following} <= there
    assert name not in there


def test_only_a_process_of_this_machine_that_is_gone_leaves_something(dead: Process) -> None:
    assert is_left_over(labels_of(dead))
    assert not is_left_over(own_labels())
    # A later process was given the id.
    own = process_of(os.getpid())
    assert own is not None
    assert is_left_over(labels_of(Process(own.pid, own.started - 1)))
    elsewhere = {key: "0123456789ab" for key in labels_of(dead) if key.endswith("/machine")}
    assert not is_left_over({**labels_of(dead), **elsewhere})
    assert not is_left_over({})
