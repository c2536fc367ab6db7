"""A real RTMP server, nginx with its RTMP module, which keeps what is sent to it as FLV files."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.waiting import wait_until
from tests.ports import free_port
from tests.support.speed import scaled
from tests.token_api.livekit_server import program

_MODULES = "*/nginx/modules/ngx_rtmp_module.so"
_CONFIG = """\
load_module {module};
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log info;
events {{ worker_connections 64; }}
rtmp {{
  server {{
    listen 127.0.0.1:{port};
    application live {{
      live on;
      record all;
      record_path {directory};
      record_suffix -%s.flv;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class RtmpServer:
    """A running server."""

    port: int
    directory: Path

    def url(self, key: str) -> str:
        """Where a stream is sent to."""
        return f"rtmp://127.0.0.1:{self.port}/live/{key}"

    def files(self, key: str) -> list[Path]:
        """What came by a stream key: one file for each connection, oldest first."""
        return sorted(self.directory.glob(f"{key}-*.flv"), key=lambda path: path.stat().st_mtime)


@contextmanager
def rtmp_server(directory: Path, port: int | None = None) -> Iterator[RtmpServer]:
    """Start a server that writes into `directory`."""
    modules = sorted(Path("/usr").glob(_MODULES))
    assert modules, "nginx has no RTMP module: `make test` installs Debian's libnginx-mod-rtmp"
    server = RtmpServer(port or free_port(), directory)
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(module=modules[0], directory=directory, port=server.port))
    words = [program("nginx"), "-c", str(config), "-e", str(directory / "nginx.log"), "-p", str(directory)]
    with (directory / "nginx.out").open("ab") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        wait_until(
            lambda: _listens(server.port),
            timeout=scaled(10),
            describe="nginx to listen",
            interval=0.05,
            tolerate=(OSError,),
        )
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
