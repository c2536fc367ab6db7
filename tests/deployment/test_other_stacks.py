"""`pulumi preview` of staging and production, by the real engine, against the running cluster.

What only an owner has is stood in for. The cluster must look the same afterwards.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.commands import CommandFailed, run
from tests.completed_secrets import complete_secrets
from tests.deployment import owners
from tests.deployment.custom_kinds import installed
from tests.deployment.kubectl import Kubectl
from tests.running import CHECKOUT, ClusterAccess, RunningStack

pytestmark = pytest.mark.own_namespace

_CERT_MANAGER = "github.com/cert-manager/cert-manager"
_PROJECT = "livekit-platform"
_PREVIEWED = ("staging", "production")


@pytest.fixture(scope="module")
def certificate_kinds(kubectl: Kubectl, disruptive_session: None) -> Iterator[None]:
    """The kinds that the stacks need of cert-manager, from its own Go module, as long as these tests run."""
    module = json.loads(
        run(
            ["go", "mod", "download", "-json", _CERT_MANAGER],
            cwd=Path(__file__).parent / "cert_manager",
            timeout=300,
        ).stdout
    )
    files = [Path(module["Dir"]) / "deploy" / "crds" / f"cert-manager.io_{kind}.yaml" for kind in _KINDS]
    with installed(kubectl, files):
        yield


_KINDS = ("certificates", "clusterissuers")


class _Engine:
    """`pulumi` with a state of its own for one stack."""

    def __init__(self, directory: Path, stack: str, config: dict[str, Any]) -> None:
        self._environment = {
            "PULUMI_BACKEND_URL": f"file://{directory}",
            "PULUMI_CONFIG_PASSPHRASE": "only for this test",
            "PULUMI_CONFIG_PASSPHRASE_FILE": "",
        }
        self._stack = stack
        shutil.copy(CHECKOUT / "Pulumi.yaml", directory)
        self._pulumi("stack", "init", stack, "--cwd", str(directory))
        # `stack init` wrote the key of the passphrase.
        file = directory / f"Pulumi.{stack}.yaml"
        salted = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**salted, "config": config}))
        complete_secrets(stack, file, self._environment)
        self._file = file

    def preview(self) -> str:
        """What `pulumi preview` prints.

        Raises:
            CommandFailed: with the engine's words.
        """
        where = ["--stack", self._stack, "--config-file", str(self._file), "--cwd", str(CHECKOUT)]
        return self._pulumi("preview", *where)

    def _pulumi(self, *words: str) -> str:
        command = ["pulumi", *words, "--non-interactive", "--color=never"]
        return run(command, env=self._environment, timeout=180).stdout


def _config(stack: str, outputs_nodes: list[dict[str, str]], kubeconfig: Path) -> dict[str, Any]:
    """Pulumi.<stack>.yaml with stand-ins for its owner's values."""
    config: dict[str, Any] = yaml.safe_load((CHECKOUT / f"Pulumi.{stack}.yaml").read_text())["config"]

    def key(name: str) -> str:
        return f"{_PROJECT}:{name}"

    config[key("edge")]["tls"]["issuer"]["name"] = "letsencrypt"
    config[key("object_store")]["external"]["endpoint"] = "https://s3.example.com"
    digest = f"@sha256:{'0' * 64}"
    return {
        **config,
        key("kubeconfig"): str(kubeconfig),
        key("domain"): f"lk.{stack}.example.com",
        # The running stack has the namespace of that name.
        key("namespace"): f"preview-{stack}",
        key("nodes"): outputs_nodes,
        key("images"): {
            "registry": "registry.example.com/livekit-platform",
            "token_api": f"token-api{digest}",
            "object_store_setup": f"object-store-setup{digest}",
            "turn_exporter": f"turn-exporter{digest}",
        },
    }


@pytest.fixture(scope="module")
def live_nodes(kubectl: Kubectl) -> list[dict[str, str]]:
    return kubectl.nodes()


@dataclass(frozen=True)
class _Previews:
    """Previews of both stacks, made at the same time, and the cluster's objects before and after them."""

    shown: dict[str, Future[str]]
    before: set[str]
    after: set[str]


@pytest.fixture(scope="module")
def previews(
    certificate_kinds: None,
    live_nodes: list[dict[str, str]],
    cluster: ClusterAccess,
    kubectl: Kubectl,
    tmp_path_factory: pytest.TempPathFactory,
) -> _Previews:
    def preview(stack_name: str) -> str:
        config = _config(stack_name, live_nodes, cluster.kubeconfig)
        return _Engine(tmp_path_factory.mktemp(stack_name), stack_name, config).preview()

    before = _names(kubectl)
    with ThreadPoolExecutor() as pool:
        shown = {stack_name: pool.submit(preview, stack_name) for stack_name in _PREVIEWED}
    return _Previews(shown, before, _names(kubectl))


@pytest.mark.parametrize("stack_name", _PREVIEWED)
def test_the_preview_is_whole_and_touches_nothing(stack_name: str, previews: _Previews) -> None:
    shown = previews.shown[stack_name].result()
    for resource in (
        *("Namespace", "NetworkPolicy", "PriorityClass", "cert-manager.io/v1:Certificate"),
        *("StatefulSet", "Deployment", "PodDisruptionBudget", "ServiceAccount", "Job"),
    ):
        assert resource in shown, f"{resource} is missing in:\n{shown}"
    for part in ("livekit-server", "coturn", "edge", "redis", "token-api", "egress"):
        assert part in shown, f"{part} is missing in:\n{shown}"
    assert " to create" in shown
    assert " to update" not in shown
    assert previews.after == previews.before


def test_a_wrong_configuration_stops_the_preview_with_every_mistake(
    stack: RunningStack, live_nodes: list[dict[str, str]], cluster: ClusterAccess, tmp_path: Path
) -> None:
    config = _config(
        "production", [*live_nodes, {"name": "node9", "address": "192.0.2.9"}], cluster.kubeconfig
    )
    config[f"{_PROJECT}:turn"] |= {"kind": "coturm"}
    config[f"{_PROJECT}:redis"] = {"kind": "single"}
    engine = _Engine(tmp_path, "production", config)
    with pytest.raises(CommandFailed) as caught:
        engine.preview()
    said = caught.value.stdout + caught.value.stderr
    assert "turn.kind" in said
    assert "redis.kind" in said
    # The stack itself, and nothing in it.
    assert "+ 1 to create" in said
    assert "kubernetes:" not in said


@pytest.mark.usefixtures("certificate_kinds")
def test_a_node_that_the_cluster_does_not_have_stops_the_preview(
    live_nodes: list[dict[str, str]],
    cluster: ClusterAccess,
    tmp_path: Path,
) -> None:
    nodes = [*live_nodes, {"name": "node9", "address": "192.0.2.9"}]
    engine = _Engine(tmp_path, "staging", _config("staging", nodes, cluster.kubeconfig))
    with pytest.raises(CommandFailed) as caught:
        engine.preview()
    said = caught.value.stdout + caught.value.stderr
    assert 'nodes[2].name: given "node9"' in said


def _names(kubectl: Kubectl) -> set[str]:
    """All objects of the kinds that a stack makes, without those of other test sessions."""
    kinds = "namespaces,deployments,statefulsets,services,secrets,configmaps,priorityclasses,jobs"
    tests = {item["metadata"]["name"] for item in kubectl.get("namespaces", "-l", owners.selector())}
    found = [(item["kind"], item["metadata"]) for item in kubectl.get(kinds, "-A")]
    return {
        f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"
        for kind, metadata in found
        if metadata.get("namespace", metadata["name"]) not in tests
    }
