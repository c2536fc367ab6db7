"""The connection to LiveKit's Redis."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from recorder.settings import RedisSettings


def connect(settings: RedisSettings) -> Redis:
    """A client for the server, or for the master that the Sentinels name. It connects when it is used."""
    shared = {
        "socket_connect_timeout": settings.dial_timeout / 1000,
        "socket_timeout": max(settings.read_timeout, settings.write_timeout) / 1000,
        "socket_keepalive": True,
        # The bus and the reporter retry: they know what was lost meanwhile. A Sentinel that does not answer
        # is left for the next one.
        "retry": Retry(NoBackoff(), 0),
        **_tls(settings),
    }
    options: dict[str, Any] = {
        "username": settings.username or None,
        "password": settings.password.get_secret_value() or None,
        "db": settings.db,
        **shared,
    }
    if not settings.sentinel_addresses:
        host, port = _address(settings.address)
        return Redis(host=host, port=port, **options)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_address(address) for address in settings.sentinel_addresses],
        sentinel_kwargs={
            "username": settings.sentinel_username or None,
            "password": settings.sentinel_password.get_secret_value() or None,
            **shared,
        },
        **options,
    )
    master: Redis = sentinel.master_for(settings.sentinel_master_name)
    return master


def _tls(settings: RedisSettings) -> dict[str, Any]:
    tls = settings.tls
    if not (settings.use_tls or tls.enabled):
        return {}
    return {
        "ssl": True,
        "ssl_cert_reqs": "none" if tls.insecure else "required",
        "ssl_check_hostname": not tls.insecure,
        "ssl_ca_certs": tls.ca_cert_file or None,
        "ssl_certfile": tls.client_cert_file or None,
        "ssl_keyfile": tls.client_key_file or None,
    }


def _address(given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    return host.strip("[]"), int(port)
