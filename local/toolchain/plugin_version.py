"""The version of a Pulumi plugin. Plugins have no `--version`, so the plugin is started and asked by gRPC."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from common.commands import started

# The answer takes a second on a quiet machine.
_ANSWER_SECONDS = 60.0


def provider_version(program: Path) -> str | None:
    """The version that the resource provider `program` reports; None if it reports none within a minute."""
    try:
        with started(
            # Without an argument (the engine's address), the provider serves without an engine.
            [str(program)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            too_late = threading.Timer(_ANSWER_SECONDS, process.kill)
            too_late.start()
            try:
                port = process.stdout.readline().strip() if process.stdout else ""
                return _ask(int(port)) if port.isdigit() else None
            finally:
                too_late.cancel()
                process.kill()
    except OSError:
        return None


def _ask(port: int) -> str | None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            info = provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(
                empty_pb2.Empty(), timeout=_ANSWER_SECONDS
            )
        except grpc.RpcError:
            return None
    return str(info.version) or None
