"""Renders the charts by the real helm, and takes apart what comes out."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pulumi.runtime import rpc

from common.commands import CommandFailed, run
from tests.unit.infra.program import CHART, CHECKOUT, SECRET, STACKS, Deployment, checked_in_config

Manifest = dict[str, Any]

CHARTS = CHECKOUT / "charts"
CHART_NAMES = tuple(sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml")))
NAMESPACE = "calls"
# Charts that stacks do not deploy, for what they would make is kept by somebody else, or is not wanted.
NOT_IN_STACK: dict[str, tuple[str, ...]] = {
    stack: ("egress",)
    for stack in STACKS
    if checked_in_config(stack).get("egress", {}).get("kind", "none") == "none"
}
# Versions of kinds that Kubernetes itself does not have.
FROM_OPERATORS = ("keda.sh/v1alpha1",)
# What runs until it is told to stop, and what runs once.
_SERVING = ("Deployment", "StatefulSet", "DaemonSet")
_ONCE = ("Job",)


@dataclass(frozen=True)
class Case:
    """One rendering of one chart: by a ci values file, or with what the program gives it in a stack."""

    chart: str
    values: Path | None
    stack: str | None = None

    def __str__(self) -> str:
        return f"{self.chart}-{self.values.stem.removesuffix('-values') if self.values else self.stack}"


CASES = tuple(
    case
    for chart in CHART_NAMES
    for case in (
        *(Case(chart, values) for values in sorted((CHARTS / chart / "ci").glob("*-values.yaml"))),
        *(Case(chart, None, stack) for stack in STACKS if chart not in NOT_IN_STACK.get(stack, ())),
    )
)


def tool(name: str) -> Path:
    """The real program `name`: by the variable of its name (HELM for helm), or on PATH.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    given = os.environ.get(name.upper().replace("-", "_"))
    found = given or shutil.which(name)
    if found is None or not Path(found).is_file():
        variable = name.upper().replace("-", "_")
        raise FileNotFoundError(
            f"{name} is neither on PATH nor named by {variable}: `python3 -m local prepare-tests` builds it"
        )
    return Path(found)


def template(helm: Path, chart: str, values: Mapping[str, Any], namespace: str = NAMESPACE) -> list[Manifest]:
    """The objects that `helm template` makes of `values`.

    Raises:
        CommandFailed: the schema or a template refused them.
    """
    done = run(
        [helm, "template", chart, CHARTS / chart, "--namespace", namespace, "--values", "-"],
        timeout=60,
        input=json.dumps(values),
    )
    # The loader in C takes a tenth of the time.
    return [manifest for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader) if manifest]


def refusal(helm: Path, chart: str, values: Mapping[str, Any]) -> str | None:
    """Why helm refuses `values`; None where it does not."""
    try:
        template(helm, chart, values)
    except CommandFailed as error:
        return error.stderr
    return None


def deployed_charts(deployment: Deployment) -> list[str]:
    """The charts that the program deploys, by name."""
    return sorted(chart.name for chart in deployment.of_type(CHART))


def stack_values(deployment: Deployment, chart: str) -> dict[str, Any]:
    """The values that the program gives `chart`. RPC has doubles only; what was whole is whole again."""
    values = _whole(deployment.chart(chart).inputs["values"])
    assert isinstance(values, dict)
    return values


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def secrets_of(deployment: Deployment) -> dict[str, dict[str, str]]:
    """The Secrets that the program makes: name -> key -> text."""
    return {
        secret.inputs["metadata"]["name"]: {
            key: base64.b64decode(text).decode()
            for key, text in rpc.unwrap_rpc_secret(secret.inputs["data"]).items()
        }
        for secret in deployment.of_type(SECRET)
    }


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    """Everything that makes pods."""
    return of_kind(manifests, *_SERVING, *_ONCE)


def serving(manifests: list[Manifest]) -> list[Manifest]:
    """The workloads that run until they are told to stop: they have probes, a selector and replicas."""
    return of_kind(manifests, *_SERVING)


def jobs(manifests: list[Manifest]) -> list[Manifest]:
    """The workloads that run once."""
    return of_kind(manifests, *_ONCE)


def pod_specs(manifests: list[Manifest]) -> list[dict[str, Any]]:
    return [workload["spec"]["template"]["spec"] for workload in workloads(manifests)]


def containers(manifests: list[Manifest]) -> Iterator[dict[str, Any]]:
    for spec in pod_specs(manifests):
        yield from containers_of(spec)


def containers_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All of a pod's, its sidecars first."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def pod_labels(workload: Manifest) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def container_ports(manifests: list[Manifest]) -> dict[str, tuple[int, str]]:
    """Declared ports: name -> (number, protocol)."""
    return {
        port["name"]: (port["containerPort"], port["protocol"])
        for container in containers(manifests)
        for port in container.get("ports", [])
    }


def selected(manifests: list[Manifest], labels: Mapping[str, str]) -> list[Manifest]:
    """The workloads whose pods carry all of `labels`."""
    return [workload for workload in workloads(manifests) if labels.items() <= pod_labels(workload).items()]
