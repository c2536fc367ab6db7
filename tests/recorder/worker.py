"""The recorder as a process, with a configuration of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from common.waiting import wait_until
from tests.ports import free_port
from tests.support.speed import scaled
from tests.token_api.object_store import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.unit.token_api.support import KEY, SECRET

_CHECKOUT = Path(__file__).parents[2]
_START_SECONDS = 20.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Worker:
    """A running recorder."""

    process: subprocess.Popen[bytes]
    health_url: str
    metrics_url: str
    spool: Path
    log: Path

    def status(self) -> dict[str, Any]:
        """What its health port says."""
        found: dict[str, Any] = httpx.get(self.health_url, trust_env=False, timeout=5).json()
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        text = httpx.get(self.metrics_url, trust_env=False, timeout=5).text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted)
        )


def config(*, livekit_url: str, redis_port: int, store: str, spool: Path, **changes: Any) -> dict[str, Any]:
    """A configuration in livekit/egress' format, as the program renders it; `changes` replace keys."""
    return {
        "redis": {"address": f"127.0.0.1:{redis_port}"},
        "api_key": KEY,
        "api_secret": SECRET,
        "ws_url": livekit_url,
        "storage": {
            "s3": {
                "access_key": ACCESS_KEY,
                "secret": SECRET_KEY,
                "region": "us-east-1",
                "endpoint": store,
                "bucket": BUCKET,
                "force_path_style": True,
            }
        },
        # Tests share two cores with the rest of the suite.
        "cpu_cost": {"max_cpu_utilization": 1.0, "room_composite_cpu_cost": 0.2},
        "recorder": {"spool": str(spool), "shutdown_grace": "1s", **changes.pop("recorder", {})},
        **changes,
    }


@contextmanager
def recorder(directory: Path, settings: Mapping[str, Any]) -> Iterator[Worker]:
    """Run a recorder with these settings; its log is in `directory`."""
    health, metrics = free_port(), free_port()
    path = directory / "egress.yaml"
    path.write_text(yaml.safe_dump({**settings, "health_port": health, "prometheus_port": metrics}))
    log = directory / "recorder.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recorder"],
            cwd=_CHECKOUT / "services" / "recorder",
            env={"PATH": os.environ["PATH"], "EGRESS_CONFIG_FILE": str(path)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    worker = Worker(
        process,
        f"http://127.0.0.1:{health}/",
        f"http://127.0.0.1:{metrics}/metrics",
        Path(settings["recorder"]["spool"]),
        log,
    )
    try:
        wait_until(
            lambda: b'"event": "ready"' in log.read_bytes() or process.poll() is not None,
            timeout=scaled(_START_SECONDS),
            describe="the recorder to be ready",
            interval=0.1,
        )
        assert process.poll() is None, log.read_text()
        yield worker
    finally:
        process.terminate()
        try:
            process.wait(timeout=scaled(_STOP_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def handlers(worker: Worker) -> list[int]:
    """The processes that record: those which hold the lock of an egress' directory."""
    return [holder for lock in worker.spool.glob("*/lock") if (holder := _holder(lock))]


def kill(worker: Worker) -> None:
    """End the worker and its handlers at once, as a node that loses its power."""
    recording = handlers(worker)
    worker.process.kill()
    for pid in recording:
        os.kill(pid, signal.SIGKILL)
    worker.process.wait(timeout=10)


def _holder(lock: Path) -> int:
    """The process that has this file open; 0 if there is none."""
    inode = lock.stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                if descriptor.stat().st_ino == inode:
                    return int(process.name)
        except OSError:
            continue
    return 0
