"""What token-api is given: its secrets, and the values of charts/token-api."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livekit_platform import endpoints, names
from livekit_platform.config import PlatformConfig
from livekit_platform.fingerprint import fingerprint, secrets_fingerprint
from livekit_platform.values import object_store

# Its account at the platform's own store.
_STORE_ACCOUNT = "token-api"


def secret_fields(config: PlatformConfig) -> Mapping[str, str]:
    """Which secrets the service's environment has: variable -> field name of `Secrets`."""
    return {
        "LIVEKIT_API_SECRET": "livekit_api_secret",
        **(
            {"LIVEKIT_API_SECRET_PREVIOUS": "livekit_previous_api_secret"}
            if config.livekit.previous_api_key
            else {}
        ),
        "TOKEN_API_SERVICE_KEY": "api_service_key",
        **(
            {"TOKEN_API_SERVICE_KEY_PREVIOUS": "previous_api_service_key"}
            if config.secrets.previous_api_service_key
            else {}
        ),
        **(
            {"TOKEN_API_HOST_JWT_SECRET": "host_jwt_secret"}
            if config.token_api.host_auth.kind == "secret"
            else {}
        ),
        **(
            {"TOKEN_API_HOST_JWT_SECRET_PREVIOUS": "previous_host_jwt_secret"}
            if config.secrets.previous_host_jwt_secret
            else {}
        ),
    }


def secret_environment(config: PlatformConfig, secrets: Mapping[str, str]) -> dict[str, str]:
    """The part of the service's environment that comes from its Secret."""
    previous = config.livekit.previous_api_key
    return {
        "LIVEKIT_API_KEY": config.livekit.api_key,
        **({"LIVEKIT_API_KEY_PREVIOUS": previous} if previous else {}),
        **{variable: secrets[field] for variable, field in secret_fields(config).items()},
    }


def recordings_key(secrets: Mapping[str, str]) -> dict[str, str]:
    """Its key of the platform's own store, as a Secret of an owner's store has it."""
    return {
        "access_key_id": _STORE_ACCOUNT,
        "secret_access_key": secrets[object_store.ACCOUNTS[_STORE_ACCOUNT]],
    }


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/token-api: no secret, and nothing unknown at preview."""
    livekit = names.service_host(names.LIVEKIT, config.namespace)
    api, database = config.token_api, config.database
    secrets = secrets_fingerprint(config.secrets, *secret_fields(config).values(), *_store_secret(config))
    return {
        "image": config.images.complete(config.images.token_api),
        "imagePullSecrets": list(config.images.pull_secrets),
        "replicas": api.replicas_with(database),
        "database": {
            "kind": database.kind,
            "secretName": database.secret_name or "",
            "persistence": {"size": database.storage_size, "storageClassName": database.storage_class},
        },
        "livekit": {
            "url": f"http://{livekit}:{config.ports.signal}",
            "publicUrl": endpoints.signal_url(config),
            "previousKey": config.livekit.previous_api_key is not None,
        },
        "egressKind": config.egress.kind,
        "secretName": names.TOKEN_API_SECRET,
        "previousServiceKey": config.secrets.previous_api_service_key is not None,
        "secretChecksum": fingerprint([config.livekit.api_key, config.livekit.previous_api_key, secrets]),
        "hostAuth": {
            "kind": api.host_auth.kind,
            "previousSecret": config.secrets.previous_host_jwt_secret is not None,
            "issuer": api.host_auth.issuer or "",
            "audience": api.host_auth.audience or "",
            "jwksUrl": api.host_auth.jwks_url or "",
        },
        "chat": {"provider": api.chat.provider, "secretName": api.chat.secret_name or ""},
        "recordings": _recordings(config),
        "corsOrigins": list(api.cors_origins),
        "trustedProxies": _trusted_proxies(config),
        "creatorGraceSeconds": api.creator_grace_seconds,
        "port": config.ports.token_api,
        "priorityClassName": names.priority_class(config.namespace, names.API),
        "networkPolicy": _network_policy(config),
    }


def _trusted_proxies(config: PlatformConfig) -> list[str]:
    """Whose X-Forwarded-For is believed."""
    if config.edge.kind == "haproxy":
        # The edge writes it anew, and its pods, whose addresses nobody knows beforehand, are the only ones
        # that policies let in beside the SFUs' nodes.
        return ["0.0.0.0/0"]
    # A controller may let through what clients send; in the pod network its addresses are unknown.
    return [*map(str, config.network.ingress_cidrs)]


def _recordings(config: PlatformConfig) -> dict[str, Any]:
    """How presigned URLs are made; a store that knows workloads by identity gives no key to sign with."""
    external = config.object_store.external
    own = names.TOKEN_API_RECORDINGS_SECRET if external is None else None
    return {
        "secretName": own or (external.secret_name if external else None) or "",
        "endpoint": endpoints.s3_endpoint(config),
        "innerEndpoint": _inner_store(config),
        "bucket": config.object_store.bucket,
        "region": config.object_store.region,
        "retentionDays": config.recordings.retention_days,
    }


def _inner_store(config: PlatformConfig) -> str:
    """Where the service itself reaches the platform's own store: past the edge, by a name of the cluster."""
    if config.object_store.external is not None:
        return ""
    return f"http://{names.service_host(names.OBJECT_STORE, config.namespace)}:{config.ports.object_store}"


def _store_secret(config: PlatformConfig) -> list[str]:
    return [object_store.ACCOUNTS[_STORE_ACCOUNT]] if config.object_store.kind == "embedded" else []


def _network_policy(config: PlatformConfig) -> dict[str, Any]:
    api, database = config.token_api, config.database
    jwks = api.host_auth.kind == "jwks"
    public_keys = {api.host_auth.jwks_port} if jwks and not api.host_auth.jwks_cidrs else set()
    # It is told of bans.
    getstream = {443} if api.chat.provider == "getstream" else set()
    store = config.object_store.external
    public_store = {store.port} if store is not None and store.secret_name and not store.cidrs else set()
    return {
        # LiveKit's webhooks come from the SFUs' nodes; all else comes through the edge.
        "clientCidrs": [*config.sfu_source_cidrs, *map(str, config.network.ingress_cidrs)],
        "clientPodLabels": [{"app.kubernetes.io/name": names.EDGE}],
        "fromAllNamespaces": config.edge.kind == "ingress",
        "livekitCidrs": config.sfu_cidrs,
        "livekitPort": config.ports.signal,
        "databaseCidrs": [*map(str, database.cidrs)],
        "databasePort": database.port,
        "publicPorts": sorted({*api.webhook_ports, *public_keys, *public_store, *getstream}),
        # A webhook that led back to the nodes, past the edge, would be the cluster's own voice there.
        "ownCidrs": config.own_cidrs,
        "webhookCidrs": [*map(str, api.webhook_allow)],
        "jwksCidrs": [*map(str, api.host_auth.jwks_cidrs)],
        "jwksPort": api.host_auth.jwks_port,
        "storePodLabels": {"app.kubernetes.io/name": names.OBJECT_STORE} if store is None else {},
        "storeCidrs": [*map(str, store.cidrs)] if store is not None else [],
        "storePort": store.port if store is not None else config.ports.object_store,
        "dnsCidrs": [*map(str, config.network.dns_cidrs)],
    }
