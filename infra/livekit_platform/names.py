"""Names of the objects in the cluster: fixed, so that every chart value is known at preview."""

from __future__ import annotations

from collections.abc import Mapping

PROJECT = "livekit-platform"

ACME_SOLVER = "acme-solver"
COTURN = "coturn"
EDGE = "edge"
EGRESS = "egress"
LIVEKIT = "livekit-server"
OBJECT_STORE = "object-store"
REDIS = "redis"
TOKEN_API = "token-api"  # noqa: S105 - the name of a service

COTURN_CONFIG_SECRET = "coturn-config"  # noqa: S105 - the names of Secret objects
EDGE_TLS_SECRET = "edge-tls"  # noqa: S105
EGRESS_CONFIG_SECRET = "egress-config"  # noqa: S105
LIVEKIT_CONFIG_SECRET = "livekit-server-config"  # noqa: S105
OBJECT_STORE_ACCOUNTS_SECRET = "object-store-accounts"  # noqa: S105
OBJECT_STORE_ROOT_SECRET = "object-store-root"  # noqa: S105
REDIS_ACL_SECRET = "redis-acl"  # noqa: S105
TOKEN_API_RECORDINGS_SECRET = "token-api-recordings"  # noqa: S105
TOKEN_API_SECRET = "token-api-env"  # noqa: S105

# Groups of pods that share a PriorityClass: calls go last, then what they stand on.
MEDIA = "media"
STATE = "state"
API = "api"

# With Sentinel: charts/redis knows them by number.
REDIS_REPLICAS = 3

WEBHOOK_PATH = "/v1/webhooks/livekit"


def priority_class(namespace: str, group: str) -> str:
    """The platform's own PriorityClass for `group` (MEDIA, STATE or API).

    PriorityClasses belong to no namespace: two platforms on one cluster must not share one.
    """
    return f"{namespace}-{group}"


def service_host(service: str, namespace: str) -> str:
    """The name under which pods reach `service`; every cluster domain's search list completes it."""
    return f"{service}.{namespace}.svc"


def pod_hosts(workload: str, namespace: str, replicas: int) -> list[str]:
    """The names of a StatefulSet's pods, behind its headless Service `<workload>-pods`."""
    service = service_host(f"{workload}-pods", namespace)
    return [f"{workload}-{ordinal}.{service}" for ordinal in range(replicas)]


def nodes_host(workload: str, namespace: str) -> str:
    """The name of the nodes with a ready pod of `workload`: its headless Service `<workload>-nodes`."""
    return service_host(f"{workload}-nodes", namespace)


def labels(component: str) -> Mapping[str, str]:
    """Recommended labels for the objects that the program makes itself (charts label their own)."""
    return {
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/part-of": PROJECT,
        "app.kubernetes.io/managed-by": "pulumi",
    }
