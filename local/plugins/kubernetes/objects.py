"""Kubernetes objects as plain JSON: what identifies one, and what of it is wanted rather than observed."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulumi.runtime.rpc import UNKNOWN

from local.plugins.errors import PluginError
from local.plugins.kubernetes.values import Json

AUTONAMED = "pulumi.com/autonamed"
# What the API server writes into metadata, and refuses or ignores from anyone else.
_SERVER_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


class UnsupportedResource(PluginError):
    """A resource type that this provider does not have. The message says what to use instead."""


@dataclass(frozen=True)
class Reference:
    """Which object is meant. `namespace` is empty for a cluster-wide one."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def id(self) -> str:
        """The resource id in Pulumi's state: `namespace/name`, or the name of a cluster-wide object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def reference(obj: Json) -> Reference:
    """What `obj` calls itself."""
    metadata = obj.get("metadata") or {}
    return Reference(
        obj.get("apiVersion", ""),
        obj.get("kind", ""),
        metadata.get("name", ""),
        metadata.get("namespace", ""),
    )


def from_id(api_version: str, kind: str, resource_id: str) -> Reference:
    """The object with that id, the reverse of `Reference.id`."""
    namespace, _, name = resource_id.rpartition("/")
    return Reference(api_version, kind, name, namespace)


def type_of_urn(urn: str) -> tuple[str, str]:
    """apiVersion and kind in a URN: `...::kubernetes:apps/v1:Deployment::name` is of `apps/v1`, `Deployment`.

    Raises:
        UnsupportedResource: a type that stands for no single object.
    """
    token = urn.split("::")[2].rsplit("$", 1)[-1]
    _, module, kind = token.split(":")
    if module.startswith("helm.sh/"):
        raise UnsupportedResource(
            f"{token} needs the official Kubernetes provider; for a chart without hooks use helm.v4.Chart"
        )
    if kind.endswith("Patch") or kind.endswith("List"):
        raise UnsupportedResource(
            f"{token} needs the official Kubernetes provider; declare the object itself"
        )
    return module.removeprefix("core/"), kind


def type_token(api_version: str, kind: str) -> str:
    """The Pulumi type of such objects: `kubernetes:core/v1:Secret`."""
    return f"kubernetes:{api_version if '/' in api_version else f'core/{api_version}'}:{kind}"


def wanted(inputs: Json) -> Json:
    """What of `inputs` is to be applied: no nulls, nothing that the server writes, one spelling of Secrets.

    `stringData` becomes `data`: the server would do so too, but not remove a key that is left out later.
    """
    obj: Json = _without_nulls(copy.deepcopy(inputs))
    obj.pop("status", None)
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        for key in _SERVER_METADATA:
            metadata.pop(key, None)
    if obj.get("kind") == "Secret" and isinstance(obj.get("stringData"), dict):
        texts: Json = obj.pop("stringData")
        obj["data"] = {**(obj.get("data") or {}), **{key: _base64(text) for key, text in texts.items()}}
    return obj


def observed(live: Json) -> Json:
    """`live` as kept in Pulumi's state: all but the list of who owns which field."""
    metadata = {key: value for key, value in live.get("metadata", {}).items() if key != "managedFields"}
    return {**live, "metadata": metadata}


def comparable(live: Json) -> Json:
    """What of a live object somebody wanted, as opposed to what the server observed."""
    return {
        **{key: value for key, value in live.items() if key != "status"},
        "metadata": {key: v for key, v in live.get("metadata", {}).items() if key not in _SERVER_METADATA},
    }


def pruned(live: Any, shape: Any) -> Any:
    """Those fields of `live` that `shape` has too: what became of the inputs. Lists are taken as they are."""
    if isinstance(live, Mapping) and isinstance(shape, Mapping):
        return {key: pruned(live[key], item) for key, item in shape.items() if key in live}
    return live


def previewed(would: Json, inputs: Json) -> Json:
    """The answer to a dry run of a creation, with what the real one will decide anew as unknown."""
    obj = copy.deepcopy(observed(would))
    obj.pop("status", None)
    for key in _SERVER_METADATA & obj["metadata"].keys():
        obj["metadata"][key] = UNKNOWN
    if obj.get("kind") == "Service":
        for key in {"clusterIP", "clusterIPs"} & obj["spec"].keys() - inputs.get("spec", {}).keys():
            obj["spec"][key] = UNKNOWN
    return obj


def annotation(obj: Json, key: str) -> str:
    """The value of an annotation, empty where it is not set."""
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return str(annotations.get(key, "")) if isinstance(annotations, dict) else ""


def is_autonamed(obj: Json) -> bool:
    """Whether this provider, not the program, chose the object's name."""
    return annotation(obj, AUTONAMED) == "true"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _base64(text: Any) -> Any:
    return text if text == UNKNOWN else base64.b64encode(str(text).encode()).decode()
