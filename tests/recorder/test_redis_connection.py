"""Connections to Redis: users, TLS, and the master that Sentinels name."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from google.protobuf.message import Message
from livekit.protocol import egress as proto
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from common.waiting import wait_until
from recorder.psrpc.bus import Bus
from recorder.psrpc.methods import Method
from recorder.psrpc.server import Server
from recorder.redis_connection import connect
from recorder.settings import RedisSettings
from tests.certificates import authority, certificate
from tests.ports import free_port
from tests.recorder.buses import SERVICE, call, call_until_answered, opened_client, running_bus
from tests.support.speed import scaled
from tests.token_api.livekit_server import program

START = Method(SERVICE, "Start")
PASSWORD = "redis-password"
SENTINEL_PASSWORD = "sentinel-password"


@contextmanager
def redis_process(directory: Path, config: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Redis with a configuration file of its own."""
    directory.mkdir()
    (directory / "redis.conf").write_text(f'{config}\nbind 127.0.0.1\nsave ""\ndir {directory}\n')
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [program("redis-server"), directory / "redis.conf", *words], stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


async def takes(settings: RedisSettings, payload: bytes) -> bool:
    """Whether a bus with this connection gets the lock of a request."""
    connection = connect(settings)
    try:
        return await Bus(connection).take(payload)
    finally:
        await connection.aclose()


@dataclass(frozen=True)
class Secured:
    """A Redis that wants TLS, a client's certificate, and a user."""

    port: int
    files: dict[str, str]

    def settings(self, **tls: object) -> RedisSettings:
        return RedisSettings.model_validate(
            {
                "address": f"localhost:{self.port}",
                "username": "livekit",
                "password": PASSWORD,
                "db": 3,
                "tls": {"enabled": True, **tls},
            }
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory, port = tmp_path_factory.mktemp("secured"), free_port()
    signer = authority("a test's authority")
    texts = {"ca.crt": signer.pem}
    for name in ("server", "client"):
        made = certificate("localhost", by=signer)
        texts |= {f"{name}.crt": made.pem, f"{name}.key": made.key}
    for name, text in texts.items():
        (directory / name).write_text(text)
    config = f"""
        port 0
        tls-port {port}
        tls-cert-file {directory}/server.crt
        tls-key-file {directory}/server.key
        tls-ca-cert-file {directory}/ca.crt
        user default off
        user livekit on >{PASSWORD} ~* &* +@all
    """
    files = {
        "ca_cert_file": f"{directory}/ca.crt",
        "client_cert_file": f"{directory}/client.crt",
        "client_key_file": f"{directory}/client.key",
    }
    with redis_process(directory / "redis", config):
        wait_until(
            lambda: asyncio.run(takes(Secured(port, files).settings(**files), b"ready")),
            timeout=scaled(20),
            describe="Redis to answer",
            interval=0.1,
            tolerate=(RedisError, OSError),
        )
        yield Secured(port, files)


async def test_tls_with_a_clients_certificate_and_a_user(secured: Secured) -> None:
    assert await takes(secured.settings(**secured.files), b"x")
    # The lock is where LiveKit's servers look for it.
    with redis.Redis(
        host="localhost",
        port=secured.port,
        db=3,
        username="livekit",
        password=PASSWORD,
        ssl=True,
        ssl_ca_certs=secured.files["ca_cert_file"],
        ssl_certfile=secured.files["client_cert_file"],
        ssl_keyfile=secured.files["client_key_file"],
    ) as observer:
        # base64 of the SHA-256 of "x".
        assert observer.exists("LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=")


async def test_a_server_that_the_authority_does_not_know_is_refused(secured: Secured) -> None:
    own = {key: value for key, value in secured.files.items() if key != "ca_cert_file"}
    with pytest.raises(RedisConnectionError, match="certificate verify failed"):
        await takes(secured.settings(**own), b"y")
    assert await takes(secured.settings(**own, insecure=True), b"y")


async def test_a_name_that_the_certificate_does_not_have_is_refused(secured: Secured) -> None:
    by_address = secured.settings(**secured.files).model_copy(update={"address": f"127.0.0.1:{secured.port}"})
    with pytest.raises(RedisConnectionError, match="certificate verify failed"):
        await takes(by_address, b"z")


async def test_a_wrong_password_is_not_shown(secured: Secured) -> None:
    right = secured.settings(**secured.files)
    wrong = right.model_copy(update={"password": SecretStr("wrong-one")})
    with pytest.raises(RedisError) as refused:
        await takes(wrong, b"z")
    assert "wrong-one" not in f"{refused.value!r}"


async def answer(_payload: bytes) -> Message:
    return proto.EgressInfo(room_name="a")


async def test_calls_work_again_after_a_failover(tmp_path: Path) -> None:
    first, second, sentinel, dead = (free_port() for _ in range(4))
    server = f"requirepass {PASSWORD}\nmasterauth {PASSWORD}"
    watch = f"""
        port {sentinel}
        requirepass {SENTINEL_PASSWORD}
        sentinel monitor livekit 127.0.0.1 {first} 1
        sentinel auth-pass livekit {PASSWORD}
        sentinel down-after-milliseconds livekit 1000
        sentinel failover-timeout livekit 5000
    """
    settings = RedisSettings.model_validate(
        {
            "password": PASSWORD,
            "sentinel_master_name": "livekit",
            # The first one does not answer.
            "sentinel_addresses": [f"127.0.0.1:{dead}", f"127.0.0.1:{sentinel}"],
            "sentinel_password": SENTINEL_PASSWORD,
        }
    )
    with (
        redis_process(tmp_path / "first", f"port {first}\n{server}") as master,
        redis_process(tmp_path / "second", f"port {second}\n{server}\nreplicaof 127.0.0.1 {first}"),
        redis.Redis(port=second, password=PASSWORD) as replica,
        redis_process(tmp_path / "sentinel", watch, "--sentinel"),
        redis.Redis(port=sentinel, password=SENTINEL_PASSWORD) as observer,
    ):
        await asyncio.to_thread(
            wait_until,
            # A Sentinel promotes only a replica that it knows.
            lambda: replica.info("replication")["master_link_status"] == "up" and _replicas(observer) == 1,
            timeout=scaled(30),
            describe="the Sentinel to know the replica",
            interval=0.2,
            tolerate=(RedisError,),
        )
        async with running_bus(settings) as of_server, running_bus(settings) as of_client:
            client = await opened_client(of_client)
            await Server(of_server).serve(START, answer)
            assert await call(client, "Start") == "a"
            master.kill()
            await asyncio.to_thread(
                wait_until,
                lambda: replica.info("replication")["role"] == "master",
                timeout=scaled(30),
                describe="the replica to be promoted",
                interval=0.2,
            )
            assert await call_until_answered(client, "Start") == "a"


def _replicas(sentinel: redis.Redis) -> int:
    # redis-py's types do not know that its answer is a mapping here.
    known: Any = sentinel.sentinel_master("livekit")
    return int(known["num-slaves"])
