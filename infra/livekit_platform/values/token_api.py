"""What token-api is given: its secrets, and the values of charts/token-api."""

from __future__ import annotations

from typing import Any

from livekit_platform import endpoints, names
from livekit_platform.config import PlatformConfig
from livekit_platform.fingerprint import fingerprint, secrets_fingerprint


def secret_environment(*, api_key: str, livekit_api_secret: str, api_service_key: str) -> dict[str, str]:
    """The part of the service's environment that comes from its Secret."""
    return {
        "LIVEKIT_API_KEY": api_key,
        "LIVEKIT_API_SECRET": livekit_api_secret,
        "TOKEN_API_SERVICE_KEY": api_service_key,
    }


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/token-api: no secret, and nothing unknown at preview."""
    livekit = names.service_host(names.LIVEKIT, config.namespace)
    secrets = secrets_fingerprint(config.secrets, "livekit_api_secret", "api_service_key")
    return {
        "image": config.images.complete(config.images.token_api),
        "imagePullSecrets": list(config.images.pull_secrets),
        "replicas": config.token_api.replicas,
        "livekit": {
            "url": f"http://{livekit}:{config.ports.signal}",
            "publicUrl": endpoints.signal_url(config),
        },
        "secretName": names.TOKEN_API_SECRET,
        "secretChecksum": fingerprint([config.livekit.api_key, secrets]),
        "port": config.ports.token_api,
        "databaseSecret": config.database.secret_name or "",
        "priorityClassName": names.priority_class(config.namespace, names.API),
        "networkPolicy": {
            # LiveKit's webhooks come from the SFUs' nodes; all else comes through the edge.
            "clientCidrs": [*config.sfu_source_cidrs, *map(str, config.network.ingress_cidrs)],
            "clientPodLabels": [{"app.kubernetes.io/name": names.EDGE}],
            "fromAllNamespaces": config.edge.kind == "ingress",
            "livekitCidrs": config.sfu_cidrs,
            "livekitPort": config.ports.signal,
            "dnsCidrs": [*map(str, config.network.dns_cidrs)],
        },
    }
