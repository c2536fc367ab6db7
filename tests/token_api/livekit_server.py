"""A real livekit-server and a real Redis, as processes of a test's own on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.waiting import wait_until
from livekit_platform.values.livekit import server_config
from tests.ports import free_port
from tests.token_api.processes import answering
from tests.unit.infra.program import local_config, parse_completed
from tests.unit.token_api.support import KEY, SECRET

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class LiveKitServer:
    """A running server. Its key and secret are those of `support`; `log` is the file that it logs to."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """What clients and the service connect to."""
        return f"ws://127.0.0.1:{self.port}"


def program(name: str) -> str:
    """The program `name`: by the variable of its name (LIVEKIT_SERVER), or on PATH."""
    found = os.environ.get(name.upper().replace("-", "_")) or shutil.which(name)
    assert found, f"{name} is not on PATH: `make test` builds it, or installs its package"
    return found


@contextmanager
def redis_server(directory: Path, port: int | None = None) -> Iterator[int]:
    """Debian's Redis, which keeps nothing; its port."""
    chosen = port or free_port()
    words = ["--port", str(chosen), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (directory / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [program("redis-server"), *words, "--dir", str(directory)], stdout=log, stderr=log
        )
    try:
        wait_until(
            lambda: _pong(chosen),
            timeout=_START_SECONDS,
            describe="Redis to answer",
            interval=0.05,
            tolerate=(OSError,),
        )
        yield chosen
    finally:
        process.terminate()
        process.wait(timeout=_STOP_SECONDS)


def _pong(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16) == b"+PONG\r\n"


def _deployed_config() -> dict[str, Any]:
    # No program reads the kubeconfig; it only has to exist.
    config, mistakes = parse_completed(local_config(Path(__file__)))
    assert config is not None, mistakes
    return server_config(config)


@contextmanager
def livekit_server(
    directory: Path,
    *,
    redis_port: int,
    webhook_url: str | None = None,
    port: int | None = None,
    signing: tuple[str, str] = (KEY, SECRET),
) -> Iterator[LiveKitServer]:
    """A server with the configuration of the stack `local`, but for its addresses, keys and TURN servers.

    Args:
        webhook_url: what it tells of all that happens.
        port: of one that was stopped, to be started again.
        signing: the key and secret that sign its webhooks; it knows the usual ones beside them.
    """
    chosen = port or free_port()
    deployed = _deployed_config()
    del deployed["prometheus"]
    config = {
        **deployed,
        "port": chosen,
        "bind_addresses": ["127.0.0.1"],
        "keys": dict([(KEY, SECRET), signing]),
        "redis": {"address": f"127.0.0.1:{redis_port}"},
        "rtc": {
            **deployed["rtc"],
            "node_ip": "127.0.0.1",
            "udp_port": free_port(),
            "tcp_port": free_port(),
            "interfaces": {"includes": ["lo"]},
            "enable_loopback_candidate": True,
            "turn_servers": [],
        },
        "webhook": {"api_key": signing[0], "urls": [webhook_url] if webhook_url is not None else []},
    }
    log_path = directory / "livekit.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [program("livekit-server"), "--config-body", yaml.safe_dump(config)], stdout=log, stderr=log
        )
    running = LiveKitServer(process, chosen, log_path)
    with answering(process, f"http://127.0.0.1:{chosen}/", name="livekit-server", log=log_path):
        yield running
