"""What charts/coturn runs in a pod, as processes of this machine: coturn, its Redis and its exporter."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis import Redis

from common.waiting import wait_until
from livekit_platform.config import PlatformConfig
from livekit_platform.values.coturn import turnserver_conf
from tests.deployment.turn_client import Server
from tests.image_program import image_program
from tests.manifests.rendering import CHARTS
from tests.ports import free_port
from tests.prometheus import samples
from tests.running import CHECKOUT
from tests.support import plain_http
from tests.support.coturn_script import put_program, run_script
from tests.support.speed import scaled

ADDRESS = "127.0.0.1"
SECRET = "only-for-this-test-0123456789abcdef"
_STOP_SECONDS = 30.0


@dataclass
class TurnPod:
    """All three, with what they share in `directory`."""

    directory: Path
    config: PlatformConfig
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    reports_port: int = field(default_factory=free_port)
    limit: int = 0

    def __post_init__(self) -> None:
        """As many allocations as the server gives, where the exporter is told nothing else."""
        self.limit = self.limit or len(self.config.ports.turn_relay.ports)

    @property
    def socket(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def draining_file(self) -> Path:
        return self.directory / "reports/draining"

    def server(self, transport: str) -> Server:
        return Server(ADDRESS, self.port, "tcp" if transport == "tcp" else "udp")

    @contextmanager
    def redis(self) -> Iterator[None]:
        """By the chart's own configuration."""
        file = self.directory / "redis.conf"
        text = (CHARTS / "coturn/files/redis.conf").read_text()
        assert "/run/reports/redis.sock" in text
        file.write_text(text.replace("/run/reports/redis.sock", str(self.socket)))
        redis_server = image_program("redis", "usr/bin/redis-server")
        with self._running("redis", [*redis_server, str(file), "--port", str(self.reports_port)]):
            wait_until(self.socket.exists, timeout=scaled(20), describe="Redis to listen", interval=0.05)
            yield

    def is_followed(self) -> bool:
        """Whether the exporter has subscribed to coturn's messages. Earlier messages are lost.

        Redis answers PUBLISH with the number of subscribers. The exporter ignores this channel.
        """
        with Redis(unix_socket_path=str(self.socket)) as client:
            return int(client.publish("turn/test", "")) > 0

    @contextmanager
    def coturn(self) -> Iterator[subprocess.Popen[bytes]]:
        """The chart's start script and the platform's configuration, except for ports and directories.

        Yields the script's process. SIGTERM makes it drain the server.
        """
        script = run_script(self.directory)
        for name in ("turnserver", "turnadmin"):
            program = shlex.join(image_program("coturn", f"usr/bin/{name}"))
            put_program(self.directory, name, f'#!/bin/sh\nexec {program} "$@"\n')
        file = self.directory / "turnserver.conf"
        own = {
            "listening-port": str(self.port),
            "tls-listening-port": str(free_port()),
            "redis-statsdb": f'"ip=127.0.0.1 dbname=0 port={self.reports_port}"',
            "userdb": str(self.directory / "run/turndb"),
            "pidfile": str(self.directory / "turnserver.pid"),
        }
        lines = [line.partition("=") for line in turnserver_conf(self.config, SECRET).splitlines()]
        assert own.keys() <= {key for key, _, _ in lines}
        file.write_text("".join(f"{key}{equals}{own.get(key, value)}\n" for key, equals, value in lines))
        addresses = [f"--listening-ip={ADDRESS}", f"--relay-ip={ADDRESS}"]
        relay_ports = self.config.ports.turn_relay
        environment = {
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "CERTIFICATE_CHECK_SECONDS": "30",
            "DRAIN_SECONDS": "60",
            "RELAY_FIRST": str(relay_ports.first),
            "RELAY_LAST": str(relay_ports.last),
        }
        command = ["bash", str(script), "-c", str(file), *addresses]
        # Told to end, the server waits five seconds for its threads.
        with self._running("coturn", command, environment, end=signal.SIGKILL) as process:
            yield process

    @contextmanager
    def exporter(self) -> Iterator[subprocess.Popen[bytes]]:
        environment = {
            "PYTHONPATH": str(CHECKOUT / "services/turn-exporter"),
            "TURN_ADDRESS": ADDRESS,
            "TURN_PORT": str(self.port),
            "METRICS_PORT": str(self.metrics_port),
            "REPORTS_SOCKET": str(self.socket),
            "DRAINING_FILE": str(self.draining_file),
            "ALLOCATIONS_LIMIT": str(self.limit),
        }
        with self._running("exporter", [sys.executable, "-m", "turn_exporter"], environment) as process:
            wait_until(
                self.metrics,
                timeout=scaled(20),
                describe="the exporter to answer",
                interval=0.1,
                tolerate=(httpx.TransportError,),
            )
            yield process

    @contextmanager
    def _running(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        end: signal.Signals = signal.SIGTERM,
    ) -> Iterator[subprocess.Popen[bytes]]:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            # The whole group: a start script has a child.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, end)
            process.wait(timeout=_STOP_SECONDS)

    def metrics(self) -> dict[str, float]:
        """As `tests.prometheus.samples`."""
        answer = plain_http.get(f"http://{ADDRESS}:{self.metrics_port}/metrics", timeout=10)
        return samples(answer.raise_for_status().text)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()
