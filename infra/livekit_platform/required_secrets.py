"""Which secrets a stack needs. A missing secret is an error at preview; `make secrets` creates it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from livekit_platform.certificates import (
    KeyPair,
    authority_fault,
    expiry,
    now,
    server_fault,
    server_names,
)
from livekit_platform.config import Certificates, Edge, ObjectStore, Redis, Secrets, TokenApi
from livekit_platform.mistakes import Mistake

# The stack that `local` manages: `make up` creates its secrets.
LOCAL_STACK = "local"
_WARNED_BEFORE = timedelta(days=30)


def create_command(stack: str) -> str:
    """The command that creates missing secrets of `stack` and renews its certificates."""
    return "make up" if stack == LOCAL_STACK else f"make secrets STACK={stack}"


def rotate_command(stack: str, name: str) -> str:
    """The command that replaces the secret `name` of `stack`."""
    where = "" if stack == LOCAL_STACK else f"STACK={stack} "
    return f"make secrets {where}ROTATE={name}"


def always() -> tuple[str, ...]:
    """The secrets that every stack needs. coturn is declared for each `turn.kind`, so all need its secret."""
    return ("livekit_api_secret", "turn_secret", "api_service_key")


def for_redis(redis: Redis) -> tuple[str, ...]:
    """The passwords of the platform's own Redis. The owner gives the password of an external one."""
    if redis.kind == "external":
        return ()
    return ("redis_password", *(("redis_replication_password",) if redis.kind == "sentinel" else ()))


def for_object_store(object_store: ObjectStore) -> tuple[str, ...]:
    """The keys of the object store in the cluster."""
    if object_store.kind == "external":
        return ()
    return ("s3_root_secret_key", "s3_secret_key", "s3_egress_secret_key", "s3_token_api_secret_key")


def for_token_api(token_api: TokenApi) -> tuple[str, ...]:
    """The key with which the host application signs its users' JWTs."""
    return ("host_jwt_secret",) if token_api.host_auth.kind == "secret" else ()


# A section, and the function that says which secrets it needs.
_BY_SECTION = (("redis", for_redis), ("object_store", for_object_store), ("token_api", for_token_api))
# The sections that `required` and `needs_certificates` read.
DECIDING_SECTIONS = ("domain", "edge", *(name for name, _ in _BY_SECTION))


def required(sections: Mapping[str, Any]) -> tuple[str, ...]:
    """The secrets (field names of `Secrets`) that a stack with these valid sections needs and generates."""
    return (*always(), *(name for section, needs in _BY_SECTION for name in needs(sections[section])))


def needs_certificates(edge: Edge) -> bool:
    """Whether the stack has its own certificate authority."""
    return edge.tls.kind == "own_ca"


def _missing(stack: str, secrets: Secrets, names: Sequence[str]) -> Iterator[Mistake]:
    for name in names:
        if getattr(secrets, name) is None:
            yield Mistake(f"secrets.{name}", "nothing", f"a secret: `{create_command(stack)}` creates it")


def common_secrets_exist(stack: str, secrets: Secrets) -> Iterator[Mistake]:
    yield from _missing(stack, secrets, always())


def redis_secrets_exist(stack: str, secrets: Secrets, redis: Redis) -> Iterator[Mistake]:
    yield from _missing(stack, secrets, for_redis(redis))
    if redis.kind == "external" and redis.external is not None and secrets.redis_password is None:
        # This password is not generated: the owner of the external Redis knows it.
        yield Mistake(
            "secrets.redis_password",
            "nothing",
            "the password of the Redis that `redis.external` names; "
            "`pulumi config set --secret --path livekit-platform:secrets.redis_password` sets it",
        )


def object_store_secrets_exist(stack: str, secrets: Secrets, object_store: ObjectStore) -> Iterator[Mistake]:
    yield from _missing(stack, secrets, for_object_store(object_store))


def token_api_secrets_exist(stack: str, secrets: Secrets, token_api: TokenApi) -> Iterator[Mistake]:
    yield from _missing(stack, secrets, for_token_api(token_api))


def certificates_are_usable(
    stack: str, domain: str, edge: Edge, certificates: Certificates
) -> Iterator[Mistake]:
    """Check the certificates: the running edge would load wrong ones, and clients would refuse them."""
    if not needs_certificates(edge):
        return
    command = create_command(stack)
    missing = [name for name in Certificates.model_fields if getattr(certificates, name) is None]
    for name in missing:
        yield Mistake(f"certificates.{name}", "nothing", f"`{command}` creates it")
    if missing:
        return
    authority, server = authority_of(certificates), server_of(certificates)
    if authority is None or server is None:
        return
    names = server_names(domain)
    for key, fault in (
        ("ca_certificate", authority_fault(authority, domain)),
        ("server_certificate", server_fault(server, authority.certificate, names)),
    ):
        if fault is not None:
            allowed = f"one for {domain}; this one {fault}: `{command}` replaces it"
            yield Mistake(f"certificates.{key}", "a certificate", allowed)


def authority_of(certificates: Certificates) -> KeyPair | None:
    """The authority's certificate and key, if both are present."""
    certificate, key = certificates.ca_certificate, certificates.ca_private_key
    return KeyPair(certificate, key.get_secret_value()) if certificate and key else None


def server_of(certificates: Certificates) -> KeyPair | None:
    """The edge's certificate and key, if both are present."""
    certificate, key = certificates.server_certificate, certificates.server_private_key
    return KeyPair(certificate, key.get_secret_value()) if certificate and key else None


def expiry_warnings(certificates: Certificates, stack: str) -> Iterator[str]:
    """One sentence per certificate that expires within 30 days or has expired."""
    for name in ("ca_certificate", "server_certificate"):
        certificate = getattr(certificates, name)
        if certificate is None:
            continue
        left = expiry(certificate) - now()
        if left < _WARNED_BEFORE:
            when = f"expires in {left.days} days" if left > timedelta(0) else "has expired"
            yield f"certificates.{name} {when}: `{create_command(stack)}` renews it"
