"""In which order the objects of a manifest are made: which of them waits for which others. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from local.plugins.errors import PluginError
from local.plugins.kubernetes.objects import Reference, annotation, reference
from local.plugins.kubernetes.values import Json

DEPENDS_ON = "config.kubernetes.io/depends-on"
# `group/namespaces/<namespace>/kind/name`, or `group/kind/name` for a cluster-wide object.
_DEPENDENCY = re.compile(
    r"(?P<group>[^/]*)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<kind>[^/]+)/(?P<name>[^/]+)"
)


class BadManifest(PluginError):
    """A manifest that cannot be made sense of. The message says which object and what is wrong."""


@dataclass(frozen=True)
class Ordered:
    """An object and the positions, in the same sequence, of those that must be there before it."""

    obj: Json
    after: tuple[int, ...]


def ordered(objects: list[Json]) -> list[Ordered]:
    """The objects, each behind what it waits for: its namespace, its kind's definition, its annotated others.

    Nothing else is inferred. Kubernetes itself copes with any other order.

    Raises:
        BadManifest: two objects of one identity, an unreadable annotation, or a circle.
    """
    position: dict[Reference, int] = {}
    for index, obj in enumerate(objects):
        target = reference(obj)
        if target in position:
            raise BadManifest(f"{target} ({target.api_version}) is there twice")
        position[target] = index
    namespaces = {target.name: at for target, at in position.items() if target.kind == "Namespace"}
    definitions = {
        (obj["spec"]["group"], obj["spec"]["names"]["kind"]): index
        for index, obj in enumerate(objects)
        if obj.get("kind") == "CustomResourceDefinition"
    }
    waits: dict[int, set[int]] = {}
    for index, obj in enumerate(objects):
        target = reference(obj)
        group = target.api_version.rpartition("/")[0]
        before = {namespaces.get(target.namespace), definitions.get((group, target.kind))} - {None, index}
        waits[index] = {one for one in before if one is not None} | _annotated(obj, position)
    try:
        sequence = list(TopologicalSorter(waits).static_order())
    except CycleError as error:
        circle = " -> ".join(str(reference(objects[index])) for index in error.args[1])
        raise BadManifest(f"these wait for each other: {circle}") from error
    new_position = {old: new for new, old in enumerate(sequence)}
    return [Ordered(objects[old], tuple(sorted(new_position[one] for one in waits[old]))) for old in sequence]


def _annotated(obj: Json, position: dict[Reference, int]) -> set[int]:
    found = set()
    for text in filter(None, (part.strip() for part in annotation(obj, DEPENDS_ON).split(","))):
        match = _DEPENDENCY.fullmatch(text)
        if match is None:
            raise BadManifest(
                f"{reference(obj)}: annotation {DEPENDS_ON} holds {text!r}; "
                "allowed is group/namespaces/<namespace>/kind/name or group/kind/name"
            )
        for target, index in position.items():
            group = target.api_version.rpartition("/")[0]
            named = (match["group"], match["namespace"] or "", match["kind"], match["name"])
            if (group, target.namespace, target.kind, target.name) == named:
                found.add(index)
    return found
