"""Charts and manifests as Pulumi components: each object of them a resource of its own, as the official
provider names and orders them."""

from __future__ import annotations

import contextvars
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi.provider import ConstructResult, Provider

from local.plugins.errors import PluginError
from local.plugins.kubernetes import helm
from local.plugins.kubernetes.cluster import Cluster, UnknownKind
from local.plugins.kubernetes.objects import annotation, reference, type_token
from local.plugins.kubernetes.order import Ordered, ordered
from local.plugins.kubernetes.readiness import SKIP
from local.plugins.kubernetes.values import Json, has_unknown

CHART = "kubernetes:helm.sh/v4:Chart"
CONFIG_FILE = "kubernetes:yaml/v2:ConfigFile"
CONFIG_GROUP = "kubernetes:yaml/v2:ConfigGroup"
_POLICY = "helm.sh/resource-policy"
_INPUTS = {
    CHART: {"chart", "name", "namespace", "values", "skipCrds", "resourcePrefix", "skipAwait"},
    CONFIG_FILE: {"file", "resourcePrefix", "skipAwait"},
    CONFIG_GROUP: {"files", "yaml", "objs", "resourcePrefix", "skipAwait"},
}


class BadComponent(PluginError):
    """Inputs of a component that are wrong or not to be had here. The message names them."""


@dataclass(frozen=True)
class Plan:
    """The children of one component, and what is to be said about them."""

    children: list[Ordered]
    prefix: str
    warnings: list[str]


# `construct` is called by the SDK, with inputs that the plan has already used up.
PLAN: contextvars.ContextVar[Plan] = contextvars.ContextVar("plan")


def plan(kind: str, name: str, inputs: Json, cluster: Cluster) -> Plan:
    """Render a component into its objects.

    Args:
        kind: the component's type, one of the three above.
        inputs: plain; with unknown values in them nothing is rendered, which a preview says.

    Raises:
        PluginError: bad inputs, or a chart or manifest that is broken.
    """
    if kind not in _INPUTS:
        raise BadComponent(f"{kind} needs the official Kubernetes provider; here are {', '.join(_INPUTS)}")
    extra = {key for key, value in inputs.items() if value not in (None, False, "", [], {})} - _INPUTS[kind]
    if extra:
        raise BadComponent(
            f"{kind} {name}: {', '.join(sorted(extra))} needs the official Kubernetes provider; "
            f"allowed here are {', '.join(sorted(_INPUTS[kind]))}"
        )
    prefix = inputs.get("resourcePrefix")
    prefix = name if prefix is None else str(prefix)
    if has_unknown(inputs):
        return Plan(
            [], prefix, [f"{name}: some inputs are not known yet, so this preview leaves its objects out"]
        )
    namespace = inputs.get("namespace") or cluster.default_namespace
    warnings: list[str] = []
    if kind == CHART:
        objects, hooks = helm.without_hooks(_rendered(name, inputs, namespace, cluster))
        if hooks:
            warnings.append(f"chart {name}: hooks are not run, so these are left out: {', '.join(hooks)}")
    else:
        objects = [obj for text in _texts(inputs) for obj in helm.manifest(text)] + list(
            inputs.get("objs") or []
        )
    settled = [_settled(obj, namespace, bool(inputs.get("skipAwait")), objects, cluster) for obj in objects]
    return Plan(ordered(settled), prefix, warnings)


def resource_name(obj: Json, prefix: str) -> str:
    """The Pulumi name of an object: `prefix:namespace/name`."""
    return f"{prefix}:{reference(obj).id}" if prefix else reference(obj).id


class Components(Provider):
    """Registers what `plan` found. Called by the SDK's servicer, in the event loop."""

    def construct(
        self,
        name: str,
        resource_type: str,
        inputs: Mapping[str, Any],  # noqa: ARG002 - used up by the plan
        options: pulumi.ResourceOptions | None = None,
    ) -> ConstructResult:
        component = pulumi.ComponentResource(resource_type, name, None, options)
        todo = PLAN.get()
        for warning in todo.warnings:
            pulumi.log.warn(warning, component)
        children: list[pulumi.Resource] = []
        for one in todo.children:
            obj, target = one.obj, reference(one.obj)
            child = pulumi.CustomResource(
                type_token(target.api_version, target.kind),
                resource_name(obj, todo.prefix),
                _properties(obj),
                pulumi.ResourceOptions(
                    parent=component,
                    depends_on=[children[index] for index in one.after],
                    # Only the default provider looks at it, and must be the program's own.
                    version=self.version,
                    retain_on_delete=True if annotation(obj, _POLICY) == "keep" else None,
                ),
            )
            children.append(child)
        return ConstructResult(urn=component.urn, state={"resources": children})


def _rendered(name: str, inputs: Json, namespace: str, cluster: Cluster) -> list[Json]:
    if not inputs.get("chart"):
        raise BadComponent(f"{CHART} {name}: chart is missing; give the path of a chart's directory")
    chart = helm.Chart(
        path=inputs["chart"],
        release=inputs.get("name") or name,
        namespace=namespace,
        values=inputs.get("values") or {},
        skip_crds=bool(inputs.get("skipCrds")),
    )
    return helm.template(chart, cluster.version(), cluster.kinds())


def _texts(inputs: Json) -> list[str]:
    texts = []
    for pattern in [inputs["file"]] if inputs.get("file") else inputs.get("files") or []:
        found = sorted(Path().glob(pattern)) if any(c in pattern for c in "*?[") else [Path(pattern)]
        for path in found:
            try:
                texts.append(path.read_text(encoding="utf-8"))
            except OSError as error:
                raise BadComponent(f"cannot read the manifest {path}: {error.strerror}") from error
    return [*texts, *filter(None, [inputs.get("yaml")])]


def _settled(obj: Json, namespace: str, skip_await: bool, siblings: list[Json], cluster: Cluster) -> Json:
    """`obj` with the namespace that it will be in, which is part of its resource's name."""
    settled = copy.deepcopy(obj)
    metadata = settled["metadata"]
    if not metadata.get("namespace") and _is_namespaced(settled, siblings, cluster):
        metadata["namespace"] = namespace
    if skip_await:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), SKIP: "true"}
    return settled


def _is_namespaced(obj: Json, siblings: list[Json], cluster: Cluster) -> bool:
    target = reference(obj)
    for one in siblings:
        spec = one.get("spec") or {}
        if (
            one.get("kind") == "CustomResourceDefinition"
            and spec["names"]["kind"] == target.kind
            and spec["group"] == target.api_version.rpartition("/")[0]
        ):
            return bool(spec.get("scope") == "Namespaced")
    try:
        return cluster.is_namespaced(target.api_version, target.kind)
    except UnknownKind:
        return False


def _properties(obj: Json) -> dict[str, Any]:
    if obj.get("kind") != "Secret":
        return obj
    # Text of a chart carries no mark of secrecy, and must not land in the state in plain.
    return {key: pulumi.Output.secret(v) if key in ("data", "stringData") else v for key, v in obj.items()}
