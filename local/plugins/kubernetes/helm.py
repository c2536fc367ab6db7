"""Charts, rendered by the `helm` on PATH."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.commands import CommandFailed, run
from local.plugins.errors import PluginError
from local.plugins.kubernetes.objects import annotation, reference
from local.plugins.kubernetes.order import BadManifest
from local.plugins.kubernetes.values import Json

_HOOK = "helm.sh/hook"
_TIMEOUT_SECONDS = 120.0


class ChartFailed(PluginError):
    """A chart that helm would not render; the message is helm's own."""


@dataclass(frozen=True)
class Chart:
    """What to render. `path` is relative to the program's directory, as everything there."""

    path: str
    release: str
    namespace: str
    values: Mapping[str, Any]
    skip_crds: bool = False


def template(chart: Chart, kube_version: str, api_versions: list[str]) -> list[Json]:
    """All objects of the chart, hooks among them.

    Args:
        kube_version: what the chart is told of the cluster, as `api_versions`.

    Raises:
        ChartFailed: helm's words, or that there is no helm.
    """
    with tempfile.TemporaryDirectory(prefix="helm-values-") as directory:
        # In a file of our own: values on a command line are for every user of the machine to read.
        values = Path(directory) / "values.yaml"
        values.write_text(yaml.safe_dump(dict(chart.values)), encoding="utf-8")
        argv: list[str | Path] = [
            "helm",
            "template",
            chart.release,
            chart.path,
            "--namespace",
            chart.namespace,
        ]
        argv += ["--values", values, "--kube-version", kube_version]
        argv += ["--skip-crds" if chart.skip_crds else "--include-crds"]
        for one in api_versions:
            argv += ["--api-versions", one]
        try:
            rendered = run(argv, timeout=_TIMEOUT_SECONDS)
        except CommandFailed as error:
            raise ChartFailed(
                f"chart {chart.path} does not render: {error.reason}\n{error.stderr.strip()}"
            ) from error
    return manifest(rendered.stdout)


def manifest(text: str) -> list[Json]:
    """The objects of a YAML text, lists taken apart.

    Raises:
        BadManifest: no YAML, or a document that is no named Kubernetes object.
    """
    objects: list[Json] = []
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise BadManifest(f"this is no YAML: {error}") from error
    while documents:
        document = documents.pop(0)
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise BadManifest(
                f"every object has a kind and an apiVersion; this has not: {str(document)[:200]}"
            )
        if document["kind"].endswith("List") and isinstance(document.get("items"), list):
            documents = document["items"] + documents
            continue
        if not reference(document).name:
            raise BadManifest(f"a {document['kind']} has no metadata.name")
        objects.append(document)
    return objects


def without_hooks(objects: list[Json]) -> tuple[list[Json], list[str]]:
    """The objects that are no hooks, and the names of those that are: nothing here would run them in time."""
    hooks = [obj for obj in objects if annotation(obj, _HOOK)]
    return [obj for obj in objects if obj not in hooks], [str(reference(obj)) for obj in hooks]
