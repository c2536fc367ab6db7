"""Charts and manifests become resources of their own, named as the official provider names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import automation

from tests.plugins.stack import PROJECT, Program, Stack, k8s

ConfigMap: Any = k8s.core.v1.ConfigMap
Chart: Any = k8s.helm.v4.Chart
ConfigGroup: Any = k8s.yaml.v2.ConfigGroup

CHART_YAML = "apiVersion: v2\nname: web\nversion: 0.1.0\n"
TEMPLATE = """
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  annotations: {config.kubernetes.io/depends-on: "/namespaces/{{ .Release.Namespace }}/ConfigMap/settings"}
spec: {selector: {app: web}, ports: [{port: {{ .Values.port }}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: null}
data:
  served: {{ .Capabilities.APIVersions.Has "apps/v1/Deployment" | quote }}
  colour: {{ .Values.colour | quote }}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {key: "rendered-secret-77d1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hook, annotations: {helm.sh/hook: pre-install}}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart with a Service that waits for a ConfigMap, a Secret and a hook."""
    directory = tmp_path / "chart"
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text(CHART_YAML)
    (directory / "templates" / "all.yaml").write_text(TEMPLATE)
    return directory


def web(scratch: Stack, chart: Path, **arguments: Any) -> Program:
    """A program of that chart as release `web`."""
    values = {"port": 8080, "colour": "red", **arguments.pop("values", {})}

    def program(options: pulumi.ResourceOptions) -> None:
        made = Chart(
            "web", chart=str(chart), namespace=scratch.namespace, values=values, **arguments, opts=options
        )
        pulumi.export("count", made.resources.apply(len))

    return program


def test_a_chart_is_one_resource_for_each_object(scratch: Stack, chart: Path, core: Any) -> None:
    assert scratch.up(web(scratch, chart)) == {"create": 4}
    component = f"urn:pulumi:test::{PROJECT}::kubernetes:helm.sh/v4:Chart"
    child = f"{component}$kubernetes:core/v1"
    assert scratch.urns() == {
        f"{component}::web",
        f"{child}:ConfigMap::web:{scratch.namespace}/settings",
        f"{child}:Secret::web:{scratch.namespace}/keys",
        f"{child}:Service::web:{scratch.namespace}/web",
    }
    assert scratch.outputs()["count"] == 3
    service = scratch.resource(f"web:{scratch.namespace}/web")
    assert service["parent"] == f"{component}::web"
    assert f"{child}:ConfigMap::web:{scratch.namespace}/settings" in service["dependencies"]

    live = core.read_namespaced_config_map("settings", scratch.namespace)
    assert live.data == {"served": "true", "colour": "red"}
    assert (
        f"ConfigMap {scratch.namespace}/hook" in scratch.said.replace("hook\n", "hook ")
        or "ConfigMap hook" in scratch.said
    )
    assert [one.metadata.name for one in core.list_namespaced_config_map(scratch.namespace).items].count(
        "hook"
    ) == 0
    assert "rendered-secret-77d1" not in scratch.files() + scratch.said

    assert scratch.up(web(scratch, chart)) == {"same": 4}
    assert scratch.up(web(scratch, chart, values={"colour": "blue"})) == {"update": 1, "same": 3}
    assert core.read_namespaced_config_map("settings", scratch.namespace).data["colour"] == "blue"
    scratch.destroy()
    assert scratch.urns() == set()


def test_a_preview_leaves_out_what_unknown_values_would_render(scratch: Stack, chart: Path) -> None:
    def program(options: pulumi.ResourceOptions) -> None:
        place = {"name": "first", "namespace": scratch.namespace}
        first = ConfigMap("first", metadata=place, opts=options)
        Chart(
            "web",
            chart=str(chart),
            namespace=scratch.namespace,
            values={"port": 80, "colour": first.metadata.uid},
            opts=options,
        )

    assert scratch.preview(program) == {"create": 2}
    assert "not known yet" in scratch.said


def test_what_only_the_official_provider_has_is_refused_by_name(scratch: Stack, chart: Path) -> None:
    with pytest.raises(automation.CommandError, match="verify needs the official Kubernetes provider"):
        scratch.up(web(scratch, chart, verify=True))


def test_a_broken_chart_fails_with_helm_s_own_words(scratch: Stack, chart: Path) -> None:
    (chart / "templates" / "all.yaml").write_text("{{ .Values.port.missing.deep }}")
    with pytest.raises(automation.CommandError, match=r"does not render(.|\n)*can't evaluate field"):
        scratch.up(web(scratch, chart))


def test_a_manifest_is_one_resource_for_each_object(scratch: Stack, core: Any) -> None:
    text = "{apiVersion: v1, kind: ConfigMapList, items: [" + ", ".join(
        f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: {scratch.namespace}}}}}"
        for name in ("one", "two")
    )

    def program(options: pulumi.ResourceOptions) -> None:
        ConfigGroup("all", yaml=f"{text}]}}", resource_prefix="p", opts=options)

    assert scratch.up(program) == {"create": 3}
    assert {urn.rpartition("::")[2] for urn in scratch.urns()} == {
        "all",
        f"p:{scratch.namespace}/one",
        f"p:{scratch.namespace}/two",
    }
    assert core.read_namespaced_config_map("two", scratch.namespace)
