"""Configurations with egress workers."""

from __future__ import annotations

from typing import Any

STRONG = "0123456789abcdefghijklmnopqrstuv"
KINDS = ("livekit", "recorder")
REDIS: dict[str, dict[str, Any]] = {
    "single": {"redis": {"kind": "single"}},
    "sentinel": {"redis": {"kind": "sentinel"}},
    "address": {"redis": {"kind": "external", "external": {"address": "redis.example.com:6380", "db": 3}}},
    "sentinels": {
        "redis": {
            "kind": "external",
            "external": {
                "sentinel_master_name": "mymaster",
                "sentinel_addresses": ["a.example.com:26380", "b.example.com:26380"],
                "sentinel_auth": True,
                "username": "platform",
            },
        }
    },
}
BY_KEY = {"endpoint": "https://s3.example.com", "secret_name": "recordings-store"}
BY_IDENTITY = {"endpoint": "https://s3.example.com", "service_account_annotations": {"a.example/role": "all"}}
STORES: dict[str, dict[str, Any]] = {
    "embedded": {},
    "key": {"object_store": {"kind": "external", "bucket": "calls", "external": BY_KEY}},
    "identity": {"object_store": {"kind": "external", "bucket": "calls", "external": BY_IDENTITY}},
}
BACKUP = {
    "endpoint": "https://s3.backup.example.com:9000",
    "bucket": "calls-backup",
    "region": "eu-west-1",
    "path_style": False,
    "access_key": "backup-key",
}


def changes(kind: str, *others: dict[str, Any], **own: Any) -> dict[str, Any]:
    """A configuration with workers of `kind`; `own` are further keys of `egress`."""
    secrets: dict[str, str] = {}
    found: dict[str, Any] = {"egress": {"kind": kind, **own}}
    for other in others:
        found |= other
    if found.get("redis", {}).get("kind") == "external":
        secrets["redis_password"] = STRONG
    if "access_key" in (own.get("backup") or {}):
        secrets["egress_backup_secret_key"] = f"backup-{STRONG}"
    return {**found, "secrets": secrets}
