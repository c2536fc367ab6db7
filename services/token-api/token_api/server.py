"""Runs the service until it is told to stop."""

from __future__ import annotations

import signal

import structlog
import uvicorn

from token_api import VERSION, logs
from token_api.app import create_app
from token_api.settings import Settings

log = structlog.get_logger()


def serve(settings: Settings) -> bool:
    """Serve until SIGTERM or SIGINT; requests that are open then get `shutdown_seconds` to end.

    Returns:
        Whether it ever listened: False where the address could not be bound.
    """
    logs.configure(settings.log_level)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.listen_host,
            port=settings.listen_port,
            log_config=None,
            access_log=False,
            server_header=False,
            # X-Forwarded-For could be set by anyone: nothing here decides by the caller's address.
            proxy_headers=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
    )
    # uvicorn raises the signal again once it has shut down. That it stopped as asked is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    log.info("starting", version=VERSION, livekit_url=settings.livekit_url, server_url=settings.server_url)
    try:
        server.run()
    except SystemExit:
        # How uvicorn ends where it cannot bind; it has logged why.
        return False
    log.info("stopped")
    return server.started
