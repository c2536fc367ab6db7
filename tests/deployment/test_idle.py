"""How much processor time an idle stack takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import pytest

from common.waiting import wait_until
from local.cluster import cgroups
from local.cluster.cluster import Cluster
from local.paths import Instance
from tests.deployment.kubectl import Kubectl
from tests.support.speed import scaled

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.usefixtures("disruptive")]

_SECONDS = 60.0
# Cores on the reference machine: 0.20, and 0.02 for the recorder. Runs differ by a tenth.
_MOST_CORES = 0.22 * 1.1
# On a machine of any speed: if the stack takes more, some part polls.
_MOST_CORES_ANYWHERE = 0.40
_MOST_CORES_OF_TOKEN_API = 0.01 * 1.1


def _shares(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Cores by cgroup, without cgroups that were created or removed meanwhile."""
    return {path: (after[path] - before[path]) / seconds for path in before.keys() & after.keys()}


def _names(kubectl: Kubectl) -> dict[str, str]:
    """Pod names by the part of a cgroup's name that identifies the pod."""
    return {
        name: f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in kubectl.get("pods", "-A")
        for name in (
            f"pod{pod['metadata']['uid']}",
            # The cgroups of static pods contain the hash of the pod's file.
            f"pod{pod['metadata'].get('annotations', {}).get('kubernetes.io/config.hash')}",
        )
    }


def test_an_unused_stack_takes_little_processor_time(
    kubectl: Kubectl, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster.recorded(Instance.current())
    assert cluster is not None
    cgroup = cluster.topology.cgroup
    before, began = cgroups.cpu_seconds(cgroup), time.monotonic()
    wait_until(
        lambda: time.monotonic() - began >= _SECONDS, timeout=_SECONDS + 5, describe="a minute to pass"
    )
    shares = _shares(before, cgroups.cpu_seconds(cgroup), time.monotonic() - began)
    total = shares["."]

    names = _names(kubectl)
    parts = {
        names.get(leaf, path): cores
        for path, cores in shares.items()
        if (leaf := PurePosixPath(path).name).startswith("pod") or leaf == "init"
    }
    record_property("idle_cores", round(total, 3))
    with capsys.disabled():
        print(f"\nan unused stack: {total:.3f} core in {_SECONDS:.0f} s")
        for name, cores in sorted(parts.items(), key=lambda item: -item[1]):
            print(f"  {cores:6.3f}  {name}")
    # The parts must add up to the whole. Otherwise a pod's cgroup was not recognized.
    assert sum(parts.values()) == pytest.approx(total, abs=0.02)
    assert total <= min(scaled(_MOST_CORES), _MOST_CORES_ANYWHERE)
    of_token_api = sum(cores for name, cores in parts.items() if "/token-api-" in name)
    assert 0 < of_token_api <= scaled(_MOST_CORES_OF_TOKEN_API)
