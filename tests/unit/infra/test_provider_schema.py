"""The program uses only types and properties that the built Kubernetes provider and the SDK's one know."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi_kubernetes
import pytest

from local.paths import Instance
from local.stack import Stack
from tests.unit.infra.program import STACKS, Deployment, Registration, minimal_config, run, stack_config
from tests.unit.infra.provider_schema import PROVIDER, built_provider

# Kinds of cert-manager. The API server knows them, but no provider does.
_CUSTOM = "kubernetes:cert-manager.io/"
# The built provider is older than this option. It reads the variable instead, which `make up` sets.
_BY_VARIABLE = {f"{PROVIDER}: enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE"}


def _variants(kubeconfig: Path) -> Iterator[dict[str, Any]]:
    """Configurations that together register every kind of resource."""
    yield from (stack_config(name, kubeconfig) for name in STACKS)
    yield minimal_config(kubeconfig)
    yield {
        **stack_config("staging", kubeconfig),
        "edge": {**stack_config("staging", kubeconfig)["edge"], "kind": "ingress", "ingress_class": "nginx"},
    }


@pytest.fixture(scope="module")
def deployments(shared_kubeconfig: Path) -> list[Deployment]:
    """All tests share these resources and must not change them."""
    return [run(config) for config in _variants(shared_kubeconfig)]


def _of_kubernetes(deployments: list[Deployment]) -> list[Registration]:
    return [
        resource
        for deployment in deployments
        for resource in deployment.resources.values()
        if resource.type == PROVIDER
        or (resource.type.startswith("kubernetes:") and not resource.type.startswith(_CUSTOM))
    ]


def test_the_variants_register_every_kind_of_resource(deployments: list[Deployment]) -> None:
    used = {resource.type.rpartition(":")[2] for resource in _of_kubernetes(deployments)}
    source = Path(__file__).parents[3] / "infra" / "livekit_platform"
    classes = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r"(?:core|networking|scheduling)(?:\.v1)?\.([A-Z]\w+)\(", path.read_text())
        if not name.endswith("Args")
    }
    assert used == {*classes, "Chart", "kubernetes"}


def test_the_built_provider_knows_every_type_and_property(deployments: list[Deployment]) -> None:
    unknown = {
        what
        for resource in _of_kubernetes(deployments)
        for what in built_provider().unknown(resource.type, resource.inputs)
    }
    assert unknown == set(_BY_VARIABLE)


@pytest.mark.parametrize("variable", _BY_VARIABLE.values())
def test_what_the_built_provider_reads_from_a_variable_is_set(variable: str, tmp_path: Path) -> None:
    assert Stack(Instance("abc123", tmp_path)).environment()[variable] == "true"


def test_the_sdk_knows_every_type_and_property(deployments: list[Deployment]) -> None:
    for resource in _of_kubernetes(deployments):
        known = inspect.signature(_sdk_class(resource.type)._internal_init).parameters
        for name in resource.inputs:
            assert re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name) in known, (
                resource.type,
                name,
            )


def _sdk_class(type_: str) -> Any:
    if type_ == PROVIDER:
        return pulumi_kubernetes.Provider
    _, path, name = type_.split(":")
    module = path.removesuffix(".k8s.io").replace(".k8s.io/", ".").replace(".sh/", ".").replace("/", ".")
    return getattr(importlib.import_module(f"pulumi_kubernetes.{module}"), name)


@pytest.mark.parametrize(
    ("type_", "properties", "unknown"),
    [
        ("kubernetes:core/v1:Secret", {"data": {"any": "key"}, "metadata": {"labels": {"any": "key"}}}, []),
        ("kubernetes:core/v1:Secret", {"dta": {}}, ["kubernetes:core/v1:Secret: dta"]),
        (
            "kubernetes:networking.k8s.io/v1:NetworkPolicy",
            {"spec": {"ingress": [{"ports": [{"port": 1}]}, {"ports": [{"prot": 1}]}]}},
            ["kubernetes:networking.k8s.io/v1:NetworkPolicy: spec.ingress[1].ports[0].prot"],
        ),
        ("kubernetes:core/v9:Secret", {}, ["kubernetes:core/v9:Secret"]),
        (PROVIDER, {"kubeconfig": "a", "kubconfig": "b"}, [f"{PROVIDER}: kubconfig"]),
    ],
)
def test_what_a_provider_does_not_know_is_found(
    type_: str, properties: dict[str, Any], unknown: list[str]
) -> None:
    assert built_provider().unknown(type_, properties) == unknown
