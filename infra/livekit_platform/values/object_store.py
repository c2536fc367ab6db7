"""What the object store is given: its accounts, and the values of charts/object-store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from livekit_platform import endpoints, names
from livekit_platform.config import ExternalStore, PlatformConfig
from livekit_platform.fingerprint import fingerprint, secrets_fingerprint

ACCOUNTS_FILE = "users.json"
# The accounts' names are their access key ids; which secret of `Secrets` goes with each.
OPERATOR = "operator"
ACCOUNTS: Mapping[str, str] = {
    OPERATOR: "s3_secret_key",
    "egress": "s3_egress_secret_key",
    "token-api": "s3_token_api_secret_key",
}
_ROOT = "root"
ROOT_SECRET_KEY = "s3_root_secret_key"  # noqa: S105 - the name of a field
# A pod's way out is open some seconds after it has started; a wrong address stays wrong.
_PREFLIGHT_PATIENCE_SECONDS = 30


def accounts_file(secrets: Mapping[str, str]) -> str:
    """versitygw's accounts (`secrets`: field name of `Secrets` -> value). None of them is an administrator's:
    what each may do is in the bucket's policy, which services/object-store-setup sets and proves.
    """
    return json.dumps(
        {
            "accessAccounts": {
                name: {"access": name, "secret": secrets[field], "role": "user"}
                for name, field in ACCOUNTS.items()
            }
        }
    )


def root_key(secret: str) -> dict[str, str]:
    """The root account's key, which the gateway and the setup Job know and nobody else."""
    return {"access_key_id": _ROOT, "secret_access_key": secret}


def page_origins(config: PlatformConfig) -> list[str]:
    """The platform's own pages, whose scripts may read what presigned URLs lead to."""
    # At whatever port of this machine they are opened.
    local = ["http://localhost", "http://localhost:*"] if config.edge.plain_localhost else []
    return [endpoints.api_url(config), *local]


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/object-store: no secret, and nothing unknown at preview."""
    store = config.object_store
    own = _external(store.external) if store.external is not None else _embedded(config)
    return {
        "kind": store.kind,
        "bucket": store.bucket,
        "region": store.region,
        "imagePullSecrets": list(config.images.pull_secrets),
        "priorityClassName": names.priority_class(config.namespace, names.STATE),
        "networkPolicy": {
            "dnsCidrs": [*map(str, config.network.dns_cidrs)],
            **(_clients(config) if store.external is None else {}),
        },
        **own,
        "setup": {
            "image": config.images.complete(config.images.object_store_setup),
            **({"patienceSeconds": _PREFLIGHT_PATIENCE_SECONDS} if store.external is not None else {}),
        },
    }


def _external(external: ExternalStore) -> dict[str, Any]:
    return {
        "external": {
            "endpoint": external.endpoint,
            "port": external.port,
            "pathStyle": external.path_style,
            "secretName": external.secret_name or "",
            "serviceAccountAnnotations": dict(external.service_account_annotations),
        }
    }


def _embedded(config: PlatformConfig) -> dict[str, Any]:
    store, accounts = config.object_store, sorted(ACCOUNTS)
    secrets = secrets_fingerprint(config.secrets, ROOT_SECRET_KEY, *ACCOUNTS.values())
    return {
        "gateway": {
            "image": config.images.complete(config.images.versitygw),
            "port": config.ports.object_store,
            "adminPort": config.ports.object_store_admin,
            "rootSecret": names.OBJECT_STORE_ROOT_SECRET,
            "accountsSecret": names.OBJECT_STORE_ACCOUNTS_SECRET,
            "secretsChecksum": fingerprint([accounts, secrets]),
            "allowedOrigins": page_origins(config),
            "persistence": {"size": store.storage_size, "storageClassName": store.storage_class},
        },
    }


def _client_pods(config: PlatformConfig) -> list[str]:
    return [names.EDGE, names.TOKEN_API, *([names.EGRESS] if config.egress.kind != "none" else [])]


def _clients(config: PlatformConfig) -> dict[str, Any]:
    """Who may connect to the gateway."""
    return {
        "clientPodLabels": [{"app.kubernetes.io/name": name} for name in _client_pods(config)],
        "clientCidrs": [*map(str, config.network.ingress_cidrs)],
        "fromAllNamespaces": config.edge.kind == "ingress",
    }
