"""The HTTP server of tests that simulate another service."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """A server that prints no traceback when a client closes the connection before it has the answer.

    Clients under test do that on purpose: they give up after a timeout, or they are killed.
    """

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
