"""Serve the provider on a free loopback port until the engine ends it."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from importlib import metadata

import grpc.aio
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2_grpc

from local.plugins.engine import Engine
from local.plugins.kubernetes.server import KubernetesProvider
from local.plugins.process import engine_address, on_parent_gone, print_port


async def serve(address: str) -> None:
    """Serve until the engine ends this process or is gone itself."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    on_parent_gone(partial(loop.call_soon_threadsafe, ended.set))
    # The SDK's version: the engine takes provider and SDK of one version for one package.
    provider = KubernetesProvider(address, Engine(address), metadata.version("pulumi-kubernetes"))
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print_port(port)
    await ended.wait()
    provider.close()
    await server.stop(grace=1)


asyncio.run(serve(engine_address(sys.argv)))
