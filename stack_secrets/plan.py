"""Finds missing values of a stack's configuration and generates them. Pure except for the randomness."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from livekit_platform.certificates import (
    KeyPair,
    authority_fault,
    is_due,
    new_authority,
    new_server_certificate,
    server_fault,
    server_names,
)
from livekit_platform.config import Secrets
from livekit_platform.config.secrets import KEPT_AS
from livekit_platform.required_secrets import needs_certificates, required
from stack_secrets.takeover import TakenOver

# 256 bits, like LiveKit's own `generate-keys`; 43 characters of base64url.
_RANDOM_BYTES = 32
_CERTIFICATES = ("ca_certificate", "server_certificate")


@dataclass(frozen=True)
class Setting:
    """One value of the configuration.

    Attributes:
        key: without the project's prefix, such as `secrets.turn_secret`.
    """

    key: str
    value: str = field(repr=False)
    encrypted: bool = True


@dataclass(frozen=True)
class Change:
    """Settings that belong together, and the sentence that reports them. The sentence contains no value."""

    report: str
    settings: tuple[Setting, ...]


class WrongName(Exception):
    """This stack does not have the secret to replace. The message lists the stack's secrets."""


def replaceable(sections: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that ROTATE accepts for a stack with these sections."""
    certificates = _CERTIFICATES if needs_certificates(sections["edge"]) else ()
    return (*required(sections), *certificates)


def changes(
    sections: Mapping[str, Any],
    present: Mapping[str, Mapping[str, str]],
    taken: TakenOver,
    rotate: str | None = None,
) -> list[Change]:
    """The changes that complete the configuration. A present secret is replaced only if `rotate` names it.

    Args:
        sections: the stack's valid sections; at least `required_secrets.DECIDING_SECTIONS`.
        present: the values of the sections `secrets` and `certificates`, by field name.
        taken: the values that an earlier version kept in the state.
        rotate: the secret or certificate to replace.

    Raises:
        WrongName: this stack does not have the secret or certificate `rotate`.
    """
    allowed = replaceable(sections)
    if rotate is not None and rotate not in allowed:
        raise WrongName(f"ROTATE: given {rotate!r}, allowed are {', '.join(allowed)}")
    found = _secrets(required(sections), present["secrets"], taken.secrets, rotate)
    return found + _certificates(sections, present["certificates"], taken, rotate)


def _secrets(
    needed: tuple[str, ...], present: Mapping[str, str], taken: Mapping[str, str], rotate: str | None
) -> list[Change]:
    found: list[Change] = []
    for name in Secrets.names():
        key = f"secrets.{name}"
        if name == rotate:
            found.append(_replacement(name, present.get(name) or taken.get(name)))
        elif name in present:
            continue
        elif name in taken:
            # Also take over secrets that the stack does not need today. Otherwise a user who changes a kind
            # and later changes it back would lose the secret.
            found.append(Change(f"took {key} over from the state", (Setting(key, taken[name]),)))
        elif name in needed:
            found.append(Change(f"created {key}", (Setting(key, _random()),)))
    return found


def _replacement(name: str, earlier: str | None) -> Change:
    """Replace a secret. The earlier value is kept if the platform accepts two values at a time."""
    key = f"secrets.{name}"
    new = Setting(key, _random())
    if earlier is None:
        return Change(f"created {key}", (new,))
    if name not in KEPT_AS:
        return Change(f"replaced {key}", (new,))
    kept = f"secrets.{KEPT_AS[name]}"
    return Change(
        f"replaced {key}; the earlier value is still accepted, as {kept}", (Setting(kept, earlier), new)
    )


def _certificates(
    sections: Mapping[str, Any], present: Mapping[str, str], taken: TakenOver, rotate: str | None
) -> list[Change]:
    known_authority, known_server = _pair(present, "ca"), _pair(present, "server")
    authority, server = known_authority or taken.authority, known_server or taken.server
    reports: dict[str, str] = {}
    if authority is not None and known_authority is None:
        reports["ca"] = "took certificates.ca_certificate over from the state"
    if server is not None and known_server is None:
        reports["server"] = "took certificates.server_certificate over from the state"
    if needs_certificates(sections["edge"]):
        domain: str = sections["domain"]
        names = server_names(domain)
        fault = authority_fault(authority, domain) if authority else None
        verb = _verb(authority, fault, rotated=rotate == "ca_certificate")
        if authority is None or verb is not None:
            authority = new_authority(domain)
            reports["ca"] = f"{verb} certificates.ca_certificate"
        fault = server_fault(server, authority.certificate, names) if server else None
        verb = _verb(server, fault, rotated=rotate == "server_certificate")
        if verb is not None:
            server = new_server_certificate(names, authority)
            reports["server"] = f"{verb} certificates.server_certificate"
    pairs = {"ca": authority, "server": server}
    return [
        Change(report, _settings(kind, pair))
        for kind, report in reports.items()
        if (pair := pairs[kind]) is not None
    ]


def _verb(pair: KeyPair | None, fault: str | None, *, rotated: bool) -> str | None:
    """The word that reports what happens to a certificate; None if it is kept."""
    if pair is None:
        return "created"
    if rotated:
        return "replaced"
    return "renewed" if fault is not None or is_due(pair.certificate) else None


def _settings(kind: str, pair: KeyPair) -> tuple[Setting, ...]:
    return (
        Setting(f"certificates.{kind}_certificate", pair.certificate, encrypted=False),
        Setting(f"certificates.{kind}_private_key", pair.private_key),
    )


def _pair(present: Mapping[str, str], kind: str) -> KeyPair | None:
    certificate, key = present.get(f"{kind}_certificate"), present.get(f"{kind}_private_key")
    return KeyPair(certificate, key) if certificate and key else None


def _random() -> str:
    return secrets.token_urlsafe(_RANDOM_BYTES)
