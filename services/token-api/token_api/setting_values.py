"""What the values of the environment may be: a type for each kind, whose errors say what is wrong."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from pydantic_settings import NoDecode
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

MIN_SECRET_LENGTH = 32
# A key that long still fits into a request header beside everything else that a proxy adds.
MAX_SECRET_LENGTH = 512
# Catches a key held down for 32 characters; a random hex or base64 secret has at least twice as many.
MIN_DISTINCT_CHARACTERS = 8
# What LiveKit's own examples and its `--dev` mode use: known to everyone.
PUBLIC_SECRETS = frozenset({"secret", "devkey", "devsecret"})

URL_ALLOWED = "ws://, wss://, http:// or https:// with a host and optionally a port, and nothing after it"
SECRET_ALLOWED = (
    f"{MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH} printable ASCII characters without white space, "
    f"at least {MIN_DISTINCT_CHARACTERS} of them different"
)


def _server_url(value: str, schemes: frozenset[str], *, path: bool = False) -> str:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"it is no URL ({error})") from error
    if parts.scheme not in schemes:
        raise ValueError("its scheme is not allowed")
    if not host or any(character.isspace() for character in value):
        raise ValueError("it has no usable host")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it holds a user name or password")
    if not path and (parts.path not in {"", "/"} or parts.query or parts.fragment):
        raise ValueError("it has a path, query or fragment")
    return value if path else value.rstrip("/")


def _livekit_url(value: str) -> str:
    return _server_url(value, frozenset({"ws", "wss", "http", "https"}))


def _http_url(value: str) -> str:
    return _server_url(value, frozenset({"http", "https"}))


def _jwks_url(value: str) -> str:
    return _server_url(value, frozenset({"https"}), path=True)


def _database_url(secret: SecretStr) -> SecretStr:
    try:
        url = make_url(secret.get_secret_value())
    except ArgumentError as error:
        # Not the library's words: they hold the URL, so the password.
        raise ValueError("it is no URL") from error
    if url.drivername == "sqlite":
        if url.host or url.query or not url.database or url.database == ":memory:":
            raise ValueError("it names no file")
    elif url.drivername == "postgresql":
        if not url.database:
            raise ValueError("it names no database")
    else:
        raise ValueError("its scheme is not allowed")
    return secret


def _parts(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        _http_url(origin)
    return tuple(origin.rstrip("/").lower() for origin in origins)


def _networks(value: object) -> object:
    parts = _parts(value)
    if not isinstance(parts, tuple):
        return parts
    found = []
    for part in parts:
        try:
            found.append(ip_network(part))
        except ValueError as error:
            raise ValueError(f"{part!r} is no network") from error
    return tuple(found)


def _exceptions(entries: tuple[str, ...]) -> tuple[str, ...]:
    for entry in entries:
        host, colon, port = entry.partition(":")
        # With a port, also an address: http://127.0.0.1:3000 of a developer's machine, and nothing else.
        usable = re.fullmatch(r"[1-9][0-9]{0,4}", port) if colon else not host.replace(".", "").isdecimal()
        if _HOST.fullmatch(host) and usable:
            continue
        try:
            ip_network(entry)
        except ValueError as error:
            raise ValueError(
                f"{entry!r} is neither a host name, alone or with a port, nor a network"
            ) from error
    return tuple(entry.lower() for entry in entries)


def _strong_secret(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if value.strip().lower() in PUBLIC_SECRETS:
        raise ValueError("it is the secret of LiveKit's examples, which everyone knows")
    if value != value.strip():
        # The usual way to get there is `echo` without -n into a Secret or a file.
        raise ValueError("it begins or ends with white space, perhaps a line end")
    if not all("!" <= character <= "~" for character in value):
        raise ValueError("it holds a character that is white space or not printable ASCII")
    if len(value) < MIN_SECRET_LENGTH:
        raise ValueError("it is too short")
    if len(value) > MAX_SECRET_LENGTH:
        raise ValueError("it is too long")
    if len(set(value)) < MIN_DISTINCT_CHARACTERS:
        raise ValueError("it is made of too few different characters")
    return secret


def own_secret(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    """Refuse LiveKit's secret for another purpose."""
    livekit_secret = info.data.get("livekit_api_secret")
    if livekit_secret == secret:
        raise ValueError("it is the same as LIVEKIT_API_SECRET, which callers of this service must not know")
    return secret


LiveKitUrl = Annotated[str, AfterValidator(_livekit_url)]
StrongSecret = Annotated[SecretStr, AfterValidator(_strong_secret)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
JwksUrl = Annotated[str, AfterValidator(_jwks_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts), AfterValidator(_origins)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
Exceptions = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts), AfterValidator(_exceptions)]
