"""Serve the language host on a free loopback port until the engine ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2_grpc

from local.plugins.language_python.host import LanguageHost
from local.plugins.language_python.process import engine_address, on_parent_gone, print_port


def main() -> None:
    """Serve until the engine ends this process or is gone itself; the program never outlives it."""
    host = LanguageHost(engine_address(sys.argv))
    server = grpc.server(ThreadPoolExecutor(max_workers=8), options=_GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    ended = threading.Event()

    def end(*_: object) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    on_parent_gone(end)
    server.start()
    print_port(port)
    ended.wait()
    host.cancel()
    server.stop(grace=1).wait()
    # The program's own threads are not ours to wait for.
    os._exit(0)


main()
