"""Names of the objects in the cluster: fixed, so that every chart value is known at preview."""

from __future__ import annotations

from collections.abc import Mapping

PROJECT = "livekit-platform"

LIVEKIT = "livekit-server"
REDIS = "redis"
TOKEN_API = "token-api"  # noqa: S105 - the name of a service

LIVEKIT_CONFIG_SECRET = "livekit-server-config"  # noqa: S105 - the name of a Secret object
REDIS_ACL_SECRET = "redis-acl"  # noqa: S105
TOKEN_API_SECRET = "token-api-env"  # noqa: S105

WEBHOOK_PATH = "/v1/webhooks/livekit"


def service_host(service: str, namespace: str) -> str:
    """The name under which pods reach `service`; every cluster domain's search list completes it."""
    return f"{service}.{namespace}.svc"


def labels(component: str) -> Mapping[str, str]:
    """Recommended labels for the objects that the program makes itself (charts label their own)."""
    return {
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/part-of": PROJECT,
        "app.kubernetes.io/managed-by": "pulumi",
    }
