"""LiveKit's Egress API, as far as a run needs it: one room-composite recording to a file in the bucket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from livekit import api
from livekit.protocol import egress as proto

from loadtest.targets.rooms import ServerApi

# LiveKit waits for a worker that takes the request.
_SECONDS = 30.0
_RUNNING = {proto.EGRESS_STARTING, proto.EGRESS_ACTIVE, proto.EGRESS_ENDING}


class EgressRefused(Exception):
    """The server did not do as asked. A sentence for people, with the server's own words."""


@dataclass(frozen=True)
class EgressState:
    """What the server last knew of an egress.

    Attributes:
        status: the protocol's name, such as `EGRESS_ACTIVE`.
        error: the worker's words; empty where it had none.
    """

    egress_id: str
    status: str
    error: str

    @property
    def is_active(self) -> bool:
        return self.status == "EGRESS_ACTIVE"

    @property
    def is_over(self) -> bool:
        return proto.EgressStatus.Value(self.status) not in _RUNNING


@dataclass(frozen=True)
class Egress(ServerApi):
    """Starts and stops a recording."""

    def start(self, room: str, *, layout: str, key: str) -> EgressState:
        """Record a room to the object `key` of the worker's own bucket, as MP4 without a manifest.

        Raises:
            EgressRefused: no worker takes it, or the server does not answer.
        """
        request = proto.RoomCompositeEgressRequest(
            room_name=room,
            layout=layout,
            file_outputs=[proto.EncodedFileOutput(file_type=proto.MP4, filepath=key, disable_manifest=True)],
        )
        return self._call(lambda server: server.egress.start_room_composite_egress(request))

    def read(self, egress_id: str) -> EgressState:
        """The present state.

        Raises:
            EgressRefused: the server does not know it, or does not answer.
        """

        async def ask(server: api.LiveKitAPI) -> proto.EgressInfo:
            found = await server.egress.list_egress(proto.ListEgressRequest(egress_id=egress_id))
            if not found.items:
                raise EgressRefused(f"{self.url} does not know egress {egress_id}")
            return found.items[0]

        return self._call(ask)

    def stop(self, egress_id: str) -> EgressState:
        """Ask it to end.

        Raises:
            EgressRefused: it is over already, or the server does not answer.
        """
        request = proto.StopEgressRequest(egress_id=egress_id)
        return self._call(lambda server: server.egress.stop_egress(request))

    def _call(self, ask: Callable[[api.LiveKitAPI], Awaitable[proto.EgressInfo]]) -> EgressState:
        try:
            info = self.call(ask, timeout=_SECONDS)
        except (api.TwirpError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EgressRefused(f"{self.url}: {error or type(error).__name__}") from error
        return EgressState(info.egress_id, proto.EgressStatus.Name(info.status), info.error)
