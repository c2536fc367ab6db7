"""The types and properties in a Kubernetes provider's schema. Shared with tests/manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

from pulumi.runtime import rpc

from local.toolchain.go_tools import PULUMI_KUBERNETES

PROVIDER = "pulumi:providers:kubernetes"
_CORE = "v1"


@dataclass(frozen=True)
class Schema:
    """The schema of a provider, as in its module."""

    document: Mapping[str, Any]

    def unknown(self, type_: str, properties: Mapping[str, Any]) -> list[str]:
        """The types and properties of a resource that the provider does not know, as "type: path"."""
        known = self.document["provider"] if type_ == PROVIDER else self.document["resources"].get(type_)
        if known is None:
            return [type_]
        found = self._unknown(properties, known["inputProperties"])
        return [f"{type_}: {path}" for path in found]

    def _unknown(self, given: Mapping[str, Any], known: Mapping[str, Any], path: str = "") -> Iterator[str]:
        for name, value in given.items():
            here = f"{path}.{name}" if path else name
            if name not in known:
                yield here
            else:
                yield from self._in_value(value, known[name], here)

    def _in_value(self, value: Any, kind: Mapping[str, Any], path: str) -> Iterator[str]:
        value = rpc.unwrap_rpc_secret(value) if rpc.is_rpc_secret(value) else value
        reference = kind.get("$ref", "").partition("#/types/")[2]
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._in_value(item, kind.get("items", {}), f"{path}[{index}]")
        elif isinstance(value, dict) and reference:
            yield from self._unknown(value, self._properties(unquote(reference)), path)

    def _properties(self, type_: str) -> Mapping[str, Any]:
        return dict(self.document["types"][type_].get("properties", {}))


@cache
def built_provider() -> Schema:
    """The schema of the provider that is built here. Its module is downloaded if it is missing."""
    return Schema(json.loads(PULUMI_KUBERNETES.embedded_file("schema.json").read_text()))


def type_of(manifest: Mapping[str, Any]) -> str:
    """The resource type of a Kubernetes object."""
    version = manifest["apiVersion"]
    return f"kubernetes:{f'core/{_CORE}' if version == _CORE else version}:{manifest['kind']}"
