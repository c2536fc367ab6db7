"""The live API server takes every rendered object, with every field known to it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import yaml

from common.commands import CommandFailed
from tests.deployment.custom_kinds import installed
from tests.deployment.kubectl import Kubectl
from tests.manifests import keda
from tests.manifests.rendering import CASES, FROM_OPERATORS, Case, Manifest, of_kind, secrets_of
from tests.running import ClusterAccess
from tests.unit.infra.program import Deployment

pytestmark = pytest.mark.own_namespace


@dataclass(frozen=True)
class _DryRun:
    """Server-side apply without effect, in a namespace of this module's own."""

    kubectl: Kubectl
    namespace: str

    def __call__(self, manifests: list[Manifest]) -> int:
        """How many of them the server takes.

        Raises:
            CommandFailed: it refused one; an unknown field is an error.
        """
        moved = [
            {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}
            for manifest in manifests
        ]
        answer = self.kubectl(
            *("apply", "--server-side", "--dry-run=server", "--validate=strict"),
            *("--field-manager=livekit-platform-tests", "-f", "-"),
            input=yaml.safe_dump_all(moved),
            timeout=120,
        )
        return answer.stdout.count("serverside-applied (server dry run)")


@pytest.fixture(scope="module")
def dry_run(cluster: ClusterAccess) -> Iterator[_DryRun]:
    kubectl = Kubectl(cluster)
    with kubectl.namespace(f"test-manifests-{os.getpid()}", wait=False) as namespace:
        yield _DryRun(kubectl, namespace)


def test_the_api_server_takes_every_object(dry_run: _DryRun, case: Case, manifests: list[Manifest]) -> None:
    own = [manifest for manifest in manifests if manifest["apiVersion"] not in FROM_OPERATORS]
    assert dry_run(own) == len(own), str(case)


@pytest.fixture(scope="module")
def scaled_objects(cluster: ClusterAccess) -> Iterator[None]:
    """KEDA's kind, as long as these tests run: a cluster of somebody else's may have its own."""
    if not cluster.made_here:
        pytest.fail("this test defines a kind, and this cluster was not made by local/")
    with installed(Kubectl(cluster), [keda.definition()]):
        yield


@pytest.mark.usefixtures("scaled_objects")
def test_the_api_server_takes_scaled_objects_by_kedas_definition(
    dry_run: _DryRun, render: Callable[[Case], list[Manifest]]
) -> None:
    found = [
        manifest
        for case in CASES
        if case.chart == "egress"
        for manifest in of_kind(render(case), "ScaledObject")
    ]
    assert found
    assert dry_run(found) == len(found)
    spec = found[0]["spec"]
    with pytest.raises(CommandFailed, match="replicas"):
        dry_run([{**found[0], "spec": {**spec, "replicas": 1}}])


def test_the_api_server_takes_the_secrets(dry_run: _DryRun, local_stack: Deployment) -> None:
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
        }
        for name, data in secrets_of(local_stack).items()
    ]
    assert objects
    assert dry_run(objects) == len(objects)


def test_a_misspelt_field_would_be_refused(dry_run: _DryRun) -> None:
    """What the two tests above rely on."""
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}}
    with pytest.raises(CommandFailed, match="dta"):
        dry_run([wrong])
