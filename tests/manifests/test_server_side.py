"""The live API server takes every rendered object, with every field known to it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from common.commands import CommandFailed, run
from tests.manifests.rendering import Case, Manifest, secrets_of
from tests.running import ClusterAccess
from tests.unit.infra.program import Deployment


class _Kubectl:
    """kubectl at the cluster under test, in a namespace of this module's own."""

    def __init__(self, tools: Path, kubeconfig: Path, namespace: str) -> None:
        self._command: list[str | Path] = [tools / "kubectl", "--kubeconfig", kubeconfig]
        self.namespace = namespace

    def __call__(self, *words: str, input: str | None = None) -> str:
        return run([*self._command, *words], timeout=120, input=input).stdout

    def dry_run(self, manifests: list[Manifest]) -> str:
        """Server-side apply without effect; an unknown field is an error."""
        moved = [
            {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}
            for manifest in manifests
        ]
        return self(
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--field-manager=livekit-platform-tests",
            "-f",
            "-",
            input=yaml.safe_dump_all(moved),
        )


@pytest.fixture(scope="module")
def kubectl(cluster: ClusterAccess) -> Iterator[_Kubectl]:
    kubectl = _Kubectl(cluster.tools, cluster.kubeconfig, f"test-manifests-{secrets.token_hex(4)}")
    kubectl("create", "namespace", kubectl.namespace)
    yield kubectl
    kubectl("delete", "namespace", kubectl.namespace, "--wait=false")


def _without_node_ports(manifests: list[Manifest]) -> list[Manifest]:
    """The running stack holds its NodePort, and a dry run would be refused it."""
    for manifest in manifests:
        if manifest["kind"] == "Service":
            for port in manifest["spec"]["ports"]:
                port.pop("nodePort", None)
    return manifests


def test_the_api_server_takes_every_object(kubectl: _Kubectl, case: Case, manifests: list[Manifest]) -> None:
    answer = kubectl.dry_run(_without_node_ports(manifests))
    assert answer.count("serverside-applied (server dry run)") == len(manifests), str(case)


def test_the_api_server_takes_the_secrets(kubectl: _Kubectl, local_stack: Deployment) -> None:
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
    assert kubectl.dry_run(objects).count("serverside-applied (server dry run)") == len(objects)


def test_a_misspelt_field_would_be_refused(kubectl: _Kubectl) -> None:
    """What the two tests above rely on."""
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}}
    with pytest.raises(CommandFailed, match="dta"):
        kubectl.dry_run([wrong])
