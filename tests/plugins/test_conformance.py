"""The same program under the official plugins and under ours: same URNs, same live objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pulumi
import pytest

from local.plugins.kubernetes.objects import comparable
from local.plugins.shims import Plugin, official_plugins
from tests.plugins.stack import Program, Stack, k8s
from tests.plugins.test_charts import CHART_YAML, TEMPLATE

Deployment: Any = k8s.apps.v1.Deployment
ConfigMap: Any = k8s.core.v1.ConfigMap
Secret: Any = k8s.core.v1.Secret
Service: Any = k8s.core.v1.Service
Chart: Any = k8s.helm.v4.Chart


def everything(namespace: str, chart: Path) -> Program:
    """A program with each kind of thing that the platform's own has."""

    def program(options: pulumi.ResourceOptions) -> None:
        def place(name: str) -> dict[str, str]:
            return {"name": name, "namespace": namespace}

        ConfigMap("direct", metadata=place("direct"), data={"a": "b"}, opts=options)
        Secret("secret", metadata=place("secret"), string_data={"a": "b"}, opts=options)
        Service("service", metadata=place("service"), spec={"ports": [{"port": 80}]}, opts=options)
        Deployment(
            "deployment",
            metadata=place("deployment"),
            spec={
                "replicas": 0,
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": [{"name": "a", "image": "docker.io/library/busybox:1.35.0"}]},
                },
            },
            opts=options,
        )
        values = {"port": 8080, "colour": "red"}
        Chart("web", chart=str(chart), namespace=namespace, values=values, opts=options)

    return program


def live_objects(core: Any, apps: Any, namespace: str) -> dict[str, Any]:
    """What stands in the namespace, without what the API server draws anew for each object."""
    found = {}
    for kind, listed in (
        ("ConfigMap", core.list_namespaced_config_map(namespace)),
        ("Secret", core.list_namespaced_secret(namespace)),
        ("Service", core.list_namespaced_service(namespace)),
        ("Deployment", apps.list_namespaced_deployment(namespace)),
    ):
        for one in core.api_client.sanitize_for_serialization(listed)["items"]:
            obj = comparable(one)
            for key in ("clusterIP", "clusterIPs"):
                obj.get("spec", {}).pop(key, None)
            found[f"{kind} {obj['metadata']['name']}"] = obj
    return found


def test_the_official_plugins_and_ours_make_the_same(
    scratch: Stack, core: Any, apps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = official_plugins(os.environ).found.get(Plugin.KUBERNETES)
    if official is None:
        pytest.skip("THE OFFICIAL KUBERNETES PROVIDER IS NOT INSTALLED HERE: nothing to compare ours with")
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(CHART_YAML)
    (chart / "templates" / "all.yaml").write_text(TEMPLATE)
    program = everything(scratch.namespace, chart)

    ours = scratch.up(program)
    our_urns, our_objects = scratch.urns(), live_objects(core, apps, scratch.namespace)
    scratch.destroy()

    theirs_only = [entry for entry in os.environ["PATH"].split(os.pathsep) if not _holds_shims(Path(entry))]
    monkeypatch.setenv("PATH", os.pathsep.join([str(official.parent), *theirs_only]))
    assert scratch.up(program) == ours
    assert scratch.urns() == our_urns
    assert live_objects(core, apps, scratch.namespace) == our_objects
    scratch.destroy()


def _holds_shims(directory: Path) -> bool:
    return (directory / Plugin.KUBERNETES.value).exists() and not official_plugins(
        {"PATH": str(directory)}
    ).found
