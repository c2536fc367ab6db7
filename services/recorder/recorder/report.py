"""Reports to LiveKit how an egress goes. LiveKit stores it, and sends webhooks.

Facts: livekit/protocol, `protobufs/rpc/io.proto`; livekit/egress v1.14, `pkg/info/io.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from livekit.protocol import egress as proto

from recorder.info import FINAL, mirror_single_result
from recorder.psrpc.client import CallFailed, Client

_FIRST_RETRY_SECONDS = 0.25
_LAST_RETRY_SECONDS = 5.0
# Redis takes a request at once or never; LiveKit's own work on it takes milliseconds.
_ONE_CALL_SECONDS = 3.0

log = structlog.get_logger()


class Reporter:
    """Reports one egress. `run` must run: it sends the newest state again until LiveKit has taken it.

    Args:
        client: a client of the service IOInfo.
        save: called with each state before it is sent, so that the state survives this process.
    """

    def __init__(self, client: Client, save: Callable[[proto.EgressInfo], None]) -> None:
        self._client = client
        self._save = save
        self._newest: proto.EgressInfo | None = None
        self._changed = asyncio.Event()
        self._final_taken = asyncio.Event()

    def update(self, info: proto.EgressInfo) -> None:
        """Report a state. It replaces one that LiveKit has not taken yet."""
        mirror_single_result(info)
        self._save(info)
        self._newest = proto.EgressInfo()
        self._newest.CopyFrom(info)
        self._changed.set()

    async def run(self) -> None:
        """Send until cancelled."""
        delay = _FIRST_RETRY_SECONDS
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._newest is None or await self._send(self._newest):
                delay = _FIRST_RETRY_SECONDS
                continue
            self._changed.set()
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_RETRY_SECONDS)

    async def final_taken(self, seconds: float) -> bool:
        """Wait until LiveKit has taken a final state, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._final_taken.wait()
        except TimeoutError:
            return False
        return True

    async def _send(self, info: proto.EgressInfo) -> bool:
        """Whether LiveKit took the state."""
        status = proto.EgressStatus.Name(info.status)
        try:
            await self._client.call("UpdateEgress", info, seconds=_ONE_CALL_SECONDS)
        except CallFailed as error:
            log.warning("report_not_taken", status=status, error=str(error), code=error.code)
            return False
        log.info("reported", status=status, error=info.error, details=info.details)
        if info.status in FINAL:
            self._final_taken.set()
        return True
