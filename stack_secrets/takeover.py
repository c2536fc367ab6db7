"""Moves secrets of a stack that an earlier version deployed from the state to the configuration.

Earlier versions kept secrets as dynamic resources, whose state contains a pickled class of the program. Only
that version's program can delete such resources, so this module removes them from the exported state instead.

All functions are pure and work on the output of `pulumi stack export`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from livekit_platform.certificates import KeyPair

_DYNAMIC = "pulumi-python:dynamic/livekit-platform:"
_RANDOM_SECRET = f"{_DYNAMIC}RandomSecret"
_AUTHORITY = f"{_DYNAMIC}CertificateAuthority"
_SERVER = f"{_DYNAMIC}ServerCertificate"
_LEGACY = (_RANDOM_SECRET, _AUTHORITY, _SERVER)
# These are useless without the secrets: the component that contained them, and their dynamic provider.
_EMPTY = ("livekit-platform:components:PlatformSecrets", "pulumi:providers:pulumi-python")
# An export marks a secret value with this key. With `--show-secrets` the value's JSON text is beside it.
_MARK = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark that the engine uses
_LISTS = ("dependencies", "replaceWith")
_SINGLE = ("deletedWith", "viewOf")


@dataclass(frozen=True)
class TakenOver:
    """The values that the state contains.

    Attributes:
        secrets: by field name of `Secrets`.
    """

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    authority: KeyPair | None = None
    server: KeyPair | None = None


class UnreadableState(Exception):
    """A resource in the state lacks a required value. The message names the resource."""


def is_needed(exported: Mapping[str, Any]) -> bool:
    """Whether the state has any of the earlier resources."""
    return any(resource["type"] in _LEGACY for resource in _resources(exported))


def values(exported: Mapping[str, Any]) -> TakenOver:
    """The values in the state, from an export with `--show-secrets`.

    Raises:
        UnreadableState: a value is missing, or was exported without `--show-secrets`.
    """
    secrets: dict[str, str] = {}
    pairs: dict[str, KeyPair] = {}
    for resource in _resources(exported):
        # A resource that is pending deletion was already replaced by another one.
        if resource.get("delete"):
            continue
        if resource["type"] == _RANDOM_SECRET:
            name = resource["urn"].rpartition("::")[2]
            secrets[name.replace("-", "_")] = _text(resource, "value")
        elif resource["type"] in (_AUTHORITY, _SERVER):
            pair = KeyPair(_text(resource, "certificate"), _text(resource, "private_key"))
            pairs[resource["type"]] = pair
    return TakenOver(secrets, pairs.get(_AUTHORITY), pairs.get(_SERVER))


def without_legacy(exported: Mapping[str, Any]) -> dict[str, Any]:
    """The export without the earlier resources, and without any reference to them.

    Works with encrypted and with plain-text secrets. The resources' protection does not matter, because the
    engine deletes nothing.
    """
    resources = _resources(exported)
    gone = {resource["urn"] for resource in resources if resource["type"] in _LEGACY}
    kept = [resource for resource in resources if resource["urn"] not in gone]
    used = {resource.get("parent") for resource in kept} | {_provider_urn(resource) for resource in kept}
    gone |= {
        resource["urn"] for resource in kept if resource["type"] in _EMPTY and resource["urn"] not in used
    }
    deployment = dict(exported["deployment"])
    deployment["resources"] = [
        _without_references(resource, gone) for resource in resources if resource["urn"] not in gone
    ]
    pending = deployment.get("pending_operations")
    if pending:
        deployment["pending_operations"] = [
            {**operation, "resource": _without_references(operation["resource"], gone)}
            for operation in pending
            if operation["resource"]["urn"] not in gone
        ]
    return {**exported, "deployment": deployment}


def _resources(exported: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (exported.get("deployment") or {}).get("resources") or []


def _provider_urn(resource: Mapping[str, Any]) -> str:
    """The URN of a provider, from a reference that consists of the URN and the provider's id."""
    return str(resource.get("provider", "")).rpartition("::")[0]


def _without_references(resource: Mapping[str, Any], gone: Collection[Any]) -> dict[str, Any]:
    changed = dict(resource)
    for key in _LISTS:
        if key in changed:
            changed[key] = [urn for urn in changed[key] or [] if urn not in gone]
    for key in _SINGLE:
        if changed.get(key) in gone:
            del changed[key]
    if "propertyDependencies" in changed:
        changed["propertyDependencies"] = {
            name: [urn for urn in urns or [] if urn not in gone]
            for name, urns in (changed["propertyDependencies"] or {}).items()
        }
    return changed


def _text(resource: Mapping[str, Any], name: str) -> str:
    value = (resource.get("outputs") or {}).get(name)
    if isinstance(value, dict) and value.get(_MARK) == _SECRET and "plaintext" in value:
        value = json.loads(value["plaintext"])
    if not isinstance(value, str) or not value:
        raise UnreadableState(f"{resource['urn']}: its output `{name}` is not a text that can be read")
    return value
