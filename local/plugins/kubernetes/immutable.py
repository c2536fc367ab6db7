"""Which fields an object must be replaced for.

Known beforehand where it matters to a preview with unknown values, and else learnt from the API server's own
refusal of a dry run, which is always right and needs no list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from local.plugins.kubernetes.paths import Path, covers, parse
from local.plugins.kubernetes.values import Json

_IDENTITY = ("metadata.name", "metadata.namespace", "kind")

# (API group, kind): fields that can never change in place. Source: the validation of updates in Kubernetes
# 1.35 (pkg/apis/*/validation); pods are fixed as a whole but for the few fields named in _POD_MUTABLE.
_FIXED: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.selector",
        "spec.serviceName",
        "spec.podManagementPolicy",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.selector", "spec.template", "spec.completionMode"),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeMode",
        "spec.volumeName",
    ),
    ("", "Secret"): ("type",),
    # From or to "None" it could not be, and otherwise the server says so itself.
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): (
        "provisioner",
        "parameters",
        "reclaimPolicy",
        "volumeBindingMode",
    ),
}
_POD_MUTABLE = ("spec.containers[*].image", "spec.initContainers[*].image", "spec.activeDeadlineSeconds")

# How the validations above word it. A refusal for any other reason is the program's mistake and is shown.
_IMMUTABLE_WORDING = re.compile(
    r"immutable|may not be changed|may not change|cannot change|cannot be changed"
    r"|updates to .* (are|is) forbidden|may only be changed|pod updates may not",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Mutability:
    """Whether contents of ConfigMaps and Secrets change in place, as the provider is configured.

    Without it a change makes a new object, so that pods which name it are rolled.
    """

    config_maps: bool = False
    secrets: bool = False


def must_replace(obj: Json, path: Path, mutability: Mutability) -> bool:
    """Whether a change at `path` of `obj` can only be had by a new object."""
    group = obj.get("apiVersion", "").rpartition("/")[0]
    kind = obj.get("kind", "")
    fixed = (*_IDENTITY, *_FIXED.get((group, kind), ()))
    if (group, kind) == ("", "ConfigMap") and (not mutability.config_maps or obj.get("immutable") is True):
        fixed += ("data", "binaryData")
    if (group, kind) == ("", "Secret") and (not mutability.secrets or obj.get("immutable") is True):
        fixed += ("data", "stringData")
    if any(covers(parse(pattern), path) for pattern in fixed):
        return True
    return (
        (group, kind) == ("", "Pod")
        and covers(("spec",), path)
        and not any(covers(parse(pattern), path) for pattern in _POD_MUTABLE)
    )


def refused_as_immutable(message: str) -> bool:
    """Whether the API server's refusal of an update means that only a new object can be so."""
    return _IMMUTABLE_WORDING.search(message) is not None
