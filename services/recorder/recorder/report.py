"""Reports to LiveKit how an egress goes. LiveKit stores it, and sends webhooks.

Facts: livekit/protocol, `protobufs/rpc/io.proto`; livekit/egress v1.14, `pkg/info/io.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
        save: called with each state before it is sent, so that the state survives this process. It may wait
            for the disk: it runs in a thread, one state after the other.
    """

    def __init__(self, client: Client, save: Callable[[proto.EgressInfo], None]) -> None:
        self._client = client
        self._save = save
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="states")
        self._newest: proto.EgressInfo | None = None
        self._changed = asyncio.Event()
        self._final_taken = asyncio.Event()

    def update(self, info: proto.EgressInfo) -> None:
        """Report a state. It replaces one that LiveKit has not taken yet."""
        mirror_single_result(info)
        state = proto.EgressInfo()
        state.CopyFrom(info)
        saving = asyncio.get_running_loop().run_in_executor(self._writer, self._save, state)
        saving.add_done_callback(lambda saved: self._send_next(state, saved))

    async def saved(self) -> None:
        """Wait until all states up to now are saved."""
        await asyncio.get_running_loop().run_in_executor(self._writer, lambda: None)

    def _send_next(self, state: proto.EgressInfo, saved: asyncio.Future[None]) -> None:
        """Send a state: it is saved, or that failed."""
        if saved.cancelled():
            return
        if (error := saved.exception()) is not None:
            log.error("state_not_saved", error=str(error))
        self._newest = state
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
