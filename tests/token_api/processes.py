"""The one way in which these tests wait for a server of their own, and end it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from common.waiting import wait_until
from tests.support import plain_http
from tests.support.speed import scaled

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@contextmanager
def answering(process: subprocess.Popen[bytes], url: str, *, name: str, log: Path) -> Iterator[None]:
    """A process that was just started: the block begins when `url` answers with 200, and ends the process.

    It is killed: livekit-server would wait on SIGTERM for its participants to leave.

    Args:
        name: what to call it in messages.
        log: the file that it logs to; its end is shown where the process ends early.
    """

    def answers() -> bool:
        assert process.poll() is None, f"{name} ended:\n{log.read_text(errors='replace')[-2000:]}"
        return plain_http.get(url).status_code == 200

    try:
        wait_until(
            answers,
            timeout=scaled(_START_SECONDS),
            describe=f"{name} to answer",
            interval=0.05,
            tolerate=(httpx.TransportError,),
        )
        yield
    finally:
        process.kill()
        process.wait(timeout=_STOP_SECONDS)
