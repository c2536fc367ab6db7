"""Servers of the standard library, which a test runs in a thread of its own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

# `shutdown` waits until such an interval ends; half a second is the default.
_POLL_SECONDS = 0.005


@contextmanager
def serving_in_thread(server: BaseServer) -> Iterator[None]:
    """Serve requests for the block; at its end, stop and close the server."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _POLL_SECONDS})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
