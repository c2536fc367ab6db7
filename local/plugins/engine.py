"""What a plugin tells the engine that started it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import grpc
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

_ANNOUNCEMENT = (
    "This run uses Pulumi plugins that come with this project (local/plugins), because the official ones are "
    "neither installed here nor downloadable from here."
)


class Engine:
    """The engine's log, reached at the address that it gave as the plugin's last argument."""

    def __init__(self, address: str) -> None:
        channel = grpc.insecure_channel(address, options=_GRPC_CHANNEL_OPTIONS)
        self._stub = engine_pb2_grpc.EngineStub(channel)
        # Held for the life of the process: the name is the claim to speak, see `announce`.
        self._claim: socket.socket | None = None

    def info(self, message: str, urn: str = "") -> None:
        """Show `message` under the run's diagnostics, with the resource `urn` if one is given."""
        self._log(engine_pb2.INFO, message, urn)

    def warning(self, message: str, urn: str = "") -> None:
        """Show `message` as a warning; the run goes on."""
        self._log(engine_pb2.WARNING, message, urn)

    def error(self, message: str, urn: str = "") -> None:
        """Show `message` as an error; the engine then fails the run."""
        self._log(engine_pb2.ERROR, message, urn)

    def status(self, message: str, urn: str) -> None:
        """Show `message` beside the resource while it is worked on; nothing of it stays."""
        self._log(engine_pb2.INFO, message, urn, ephemeral=True)

    def announce(self) -> None:
        """Say once per run that these plugins are not the official ones.

        Every plugin process of one run is a child of the same `pulumi`, and the first that binds a name made
        of its process id speaks for all. An abstract socket ends with its process: nothing is to be tidied.
        """
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0livekit-platform-plugins-{os.getppid()}")
        except OSError:
            claim.close()
            return
        self._claim = claim
        self.info(_ANNOUNCEMENT)

    def _log(
        self, severity: engine_pb2.LogSeverity.ValueType, message: str, urn: str, ephemeral: bool = False
    ) -> None:
        # An engine on its way out takes no more messages, and no message is worth failing an operation.
        with suppress(grpc.RpcError):
            self._stub.Log(
                engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=ephemeral),
                timeout=10,
            )
