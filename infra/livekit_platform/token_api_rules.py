"""Rules over what token-api and its database are told. `config_rules` says which sections each reads."""

from __future__ import annotations

from collections.abc import Iterator

from livekit_platform.config import Database, LiveKit, ObjectStore, Recordings, Secrets, TokenApi
from livekit_platform.mistakes import Mistake, goes_with, narrow, only_with


def database_is_complete(database: Database) -> Iterator[Mistake]:
    yield from goes_with(
        "database.secret_name", database.secret_name, database.kind, "external", "the name of a Secret"
    )
    yield from only_with("database.cidrs", database.cidrs or None, database.kind, "external")


def retention_has_a_key(recordings: Recordings, object_store: ObjectStore) -> Iterator[Mistake]:
    """token-api deletes recordings with a key: it has no identity of its own at a store."""
    external = object_store.external
    if recordings.retention_days and external is not None and not external.secret_name:
        yield Mistake(
            "recordings.retention_days",
            str(recordings.retention_days),
            "0, unless `object_store.external.secret_name` names a key by which token-api deletes them",
        )


def previous_key_is_complete(livekit: LiveKit, secrets: Secrets) -> Iterator[Mistake]:
    key, secret = livekit.previous_api_key, secrets.livekit_previous_api_secret
    if key == livekit.api_key:
        yield Mistake("livekit.previous_api_key", f'"{key}"', "another key than `livekit.api_key`")
    if key is not None and secret is None:
        allowed = "the secret of `livekit.previous_api_key`"
        yield Mistake("secrets.livekit_previous_api_secret", "nothing", allowed)
    if key is None and secret is not None:
        allowed = "nothing, unless `livekit.previous_api_key` names its key"
        yield Mistake("secrets.livekit_previous_api_secret", "a value", allowed)


def previous_jwt_secret_has_its_kind(token_api: TokenApi, secrets: Secrets) -> Iterator[Mistake]:
    if secrets.previous_host_jwt_secret is not None and token_api.host_auth.kind != "secret":
        allowed = "nothing, unless `token_api.host_auth.kind` is `secret`"
        yield Mistake("secrets.previous_host_jwt_secret", "a value", allowed)


def one_replica_has_the_file(token_api: TokenApi, database: Database) -> Iterator[Mistake]:
    if database.kind == "embedded" and (token_api.replicas or 1) > 1:
        yield Mistake(
            "token_api.replicas",
            str(token_api.replicas),
            "1 with `database.kind` `embedded`, whose file belongs to one replica; more with `external`",
        )


def host_auth_is_complete(token_api: TokenApi) -> Iterator[Mistake]:
    auth = token_api.host_auth
    yield from goes_with("token_api.host_auth.jwks_url", auth.jwks_url, auth.kind, "jwks", "an address")
    yield from only_with("token_api.host_auth.jwks_cidrs", auth.jwks_cidrs or None, auth.kind, "jwks")
    # What a JWT must say whoever signed it: otherwise one made for another service would do.
    for key, value in (("issuer", auth.issuer), ("audience", auth.audience)):
        if (value is None) != (auth.kind == "none"):
            yield Mistake(
                f"token_api.host_auth.{key}",
                f"{'nothing' if value is None else 'a value'}, with kind `{auth.kind}`",
                "1 to 256 characters with kind `secret` or `jwks`, nothing with kind `none`",
            )


def chat_is_complete(token_api: TokenApi) -> Iterator[Mistake]:
    chat = token_api.chat
    yield from goes_with(
        "token_api.chat.secret_name", chat.secret_name, chat.provider, "getstream", "the name of a Secret"
    )


def token_api_networks_are_narrow(token_api: TokenApi, database: Database) -> Iterator[Mistake]:
    yield from narrow(
        {
            "token_api.host_auth.jwks_cidrs": token_api.host_auth.jwks_cidrs,
            "token_api.webhook_allow": token_api.webhook_allow,
            "database.cidrs": database.cidrs,
        }
    )
