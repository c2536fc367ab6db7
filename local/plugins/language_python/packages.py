"""The Python packages of this environment, as the engine wants to hear of them."""

from __future__ import annotations

import json
from importlib import metadata

from pulumi.runtime.proto import language_pb2, plugin_pb2

_PLUGIN_FILE = "pulumi-plugin.json"


def version_of(distribution: str) -> str:
    """The installed version of `distribution`, as `1.2.3`."""
    return metadata.version(distribution)


def required() -> list[plugin_pb2.PackageDependency]:
    """Every installed Pulumi package that says it needs a provider plugin, with the version that it needs."""
    found = []
    for distribution in metadata.distributions():
        if not distribution.name.lower().replace("_", "-").startswith("pulumi-"):
            continue
        for file in distribution.files or ():
            if file.name != _PLUGIN_FILE:
                continue
            described = json.loads(file.read_text())
            if described.get("resource"):
                found.append(
                    plugin_pb2.PackageDependency(
                        kind="resource",
                        name=described.get("name", distribution.name.removeprefix("pulumi_")),
                        version=described.get("version", distribution.version),
                        server=described.get("server", ""),
                    )
                )
    return found


def installed() -> list[language_pb2.DependencyInfo]:
    """Every installed distribution, by name."""
    return [
        language_pb2.DependencyInfo(name=distribution.name, version=distribution.version)
        for distribution in sorted(metadata.distributions(), key=lambda d: d.name.lower())
    ]
