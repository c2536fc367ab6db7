"""The edge's two containers as processes on this machine: its scripts, the real HAProxy, the real openssl.

The test writes files in the same way as the kubelet. The directories /config, /tls, /state and /scripts are
replaced by directories of the test.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.waiting import wait_until
from tests.certificates import Certificate
from tests.edge_client import EdgeClient
from tests.image_program import image_program
from tests.manifests.rendering import CHARTS
from tests.ports import free_port
from tests.websocket import echoes

_LOOPBACK = "127.0.0.1"
_PROGRAMS = {"haproxy": "usr/sbin/haproxy", "openssl": "usr/bin/openssl"}
# Far longer than one check by the watcher takes, even on a busy machine.
WAIT_SECONDS = 60.0


@dataclass
class LiveEdge:
    """One pod."""

    directory: Path
    domain: str
    https: int
    http: int
    drain_seconds: int = 1
    metrics: int = field(default_factory=free_port)
    _master: int = field(default_factory=free_port)
    _version: Iterator[int] = field(default_factory=itertools.count)

    @property
    def client(self) -> EdgeClient:
        return EdgeClient(_LOOPBACK, self.domain, self.https, self.http)

    def prepare(self) -> None:
        """Write the scripts, and wrappers of the programs that they call."""
        for name in ("state", "scripts", "bin"):
            (self.directory / name).mkdir()
        for script in (CHARTS / "edge" / "files").glob("*.sh"):
            text = script.read_text()
            for fixed in ("/config/", "/scripts/", "TLS=/tls\n", "STATE=/state\n"):
                text = text.replace(fixed, fixed.replace("/", f"{self.directory}/", 1))
            (self.directory / "scripts" / script.name).write_text(text)
        for name, path in _PROGRAMS.items():
            program, *words = image_program("haproxy", path)
            # HAProxy's master process re-executes itself by the name with which it was called.
            call = " ".join([program, *(['--argv0 "$0"', *words] if words else []), '"$@"'])
            wrapper = self.directory / "bin" / name
            wrapper.write_text(
                f'#!/bin/sh\n[ "$1" = -c ] || exec {call}\n'
                f'{call}\ncode=$?\n[ ! -x "{self.hook}" ] || "{self.hook}"\nexit $code\n'
            )
            wrapper.chmod(0o755)

    @property
    def hook(self) -> Path:
        """If this program exists, it runs each time after HAProxy has validated a configuration."""
        return self.directory / "hook"

    def write(self, volume: str, files: Mapping[str, str]) -> None:
        """Replace all files of a volume at once, as the kubelet does."""
        top = self.directory / volume
        version = top / f"..{next(self._version)}"
        version.mkdir(parents=True)
        for name, text in files.items():
            (version / name).write_text(text)
            if not (top / name).is_symlink():
                (top / name).symlink_to(f"..data/{name}")
        (top / "..new").symlink_to(version.name)
        (top / "..new").rename(top / "..data")

    def use(self, certificate: Certificate) -> None:
        self.write("tls", {"tls.crt": certificate.pem, "tls.key": certificate.key})

    def configure(self, text: str) -> None:
        self.write("config", {"haproxy.cfg": text})

    @contextmanager
    def container(self, script: str) -> Iterator[subprocess.Popen[bytes]]:
        """A container that runs one of the scripts. At the end, all its processes are killed."""
        with self._log(script).open("ab") as log:
            process = subprocess.Popen(
                ["bash", str(self.directory / "scripts" / f"{script}.sh")],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
                    "MASTER_PORT": str(self._master),
                    "SERVICE_NAMES": "localhost",
                    "INTERVAL_SECONDS": "0.1",
                    "DRAIN_SECONDS": str(self.drain_seconds),
                    "NOTICE_SECONDS": "0",
                },
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=WAIT_SECONDS)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run both containers during the block, which starts when HAProxy answers."""
        with self.container("run") as process, self.container("watch"):

            def answers() -> bool:
                assert process.poll() is None, self.log("run")
                # The master process starts to listen a little later than its worker.
                return self.client.served() is not None and bool(self.worker())

            wait_until(
                answers,
                timeout=WAIT_SECONDS,
                describe="HAProxy",
                interval=0.05,
                tolerate=(OSError, ValueError),
            )
            yield

    def _log(self, script: str) -> Path:
        return self.directory / f"{script}.log"

    def log(self, script: str) -> str:
        return self._log(script).read_text()

    def events(self, script: str = "watch") -> list[dict[str, Any]]:
        """The events that a script logged."""
        lines = [json.loads(line) for line in self.log(script).splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("component") == script]

    def wait_for(self, event: str, after: int) -> list[dict[str, Any]]:
        """Wait for an event of this kind; returns the watcher's events from number `after` on."""

        def found() -> list[dict[str, Any]]:
            new = self.events()[after:]
            return new if event in {entry["event"] for entry in new} else []

        return wait_until(found, timeout=WAIT_SECONDS, describe=f"the event {event}", interval=0.05)

    def worker(self) -> str:
        """The process that takes new connections, as HAProxy reports it."""
        with socket.create_connection((_LOOPBACK, self._master), timeout=10) as connection:
            connection.sendall(b"@1 show info;quit\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        [pid] = re.findall(r"^Pid: (\d+)$", text, re.MULTILINE)
        return str(pid)

    @contextmanager
    def websockets(self, number: int) -> Iterator[list[ssl.SSLSocket]]:
        """Open WebSockets to the service behind the edge, spread over HAProxy's threads."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.client.websocket()) for _ in range(number)]


def closed(connections: list[ssl.SSLSocket]) -> int:
    """How many of these connections no longer echo."""
    return sum(not echoes(connection) for connection in connections)
