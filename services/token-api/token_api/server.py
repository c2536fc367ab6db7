"""Runs the service until it is told to stop."""

from __future__ import annotations

import gc
import signal
import time
from types import FrameType

import structlog
import uvicorn

from token_api import VERSION, logs
from token_api.app import create_app
from token_api.draining import Draining
from token_api.http_protocol import HttpProtocol
from token_api.settings import Settings

log = structlog.get_logger()


class _Server(uvicorn.Server):
    """Goes on serving for a while after SIGTERM: those who send requests learn of it by `/readyz`, and later.

    A second SIGTERM, or SIGINT, ends the wait.
    """

    def __init__(self, config: uvicorn.Config, draining: Draining, drain_seconds: int) -> None:
        super().__init__(config)
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._leave_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and self._drain_seconds and not self._draining.begun:
            # No more than this in a signal handler: `on_tick` does what follows.
            self._draining.begun = True
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._draining.begun and self._leave_at is None:
            self._leave_at = time.monotonic() + self._drain_seconds
            # Connections that proxies keep end with an answer, not with the process: then none is broken.
            self.config.encoded_headers.append((b"connection", b"close"))
            log.info("draining", seconds=self._drain_seconds)
        if self._leave_at is not None and time.monotonic() >= self._leave_at:
            self.should_exit = True
        return await super().on_tick(counter)


def serve(settings: Settings) -> bool:
    """Serve until SIGTERM or SIGINT.

    After SIGTERM requests are still taken for `drain_seconds`. Those that are open then get
    `shutdown_seconds` to end, and after them background work gets `worker_seconds`.

    Returns:
        Whether it ever listened: False where the address could not be bound.
    """
    logs.configure(settings.log_level)
    app = create_app(settings)
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.listen_host,
            port=settings.listen_port,
            http=HttpProtocol,
            loop="uvloop",
            log_config=None,
            access_log=False,
            server_header=False,
            # X-Forwarded-For could be set by anyone: nothing here decides by the caller's address.
            proxy_headers=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        ),
        app.state.token_api.draining,
        settings.drain_seconds,
    )
    # uvicorn raises the signal again once it has shut down. That it stopped as asked is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    # What start-up made stays: the collector would look at all of it again and again, while requests wait.
    gc.collect()
    gc.freeze()
    log.info("starting", version=VERSION, livekit_url=settings.livekit_url, server_url=settings.server_url)
    try:
        server.run()
    except SystemExit:
        # How uvicorn ends where it cannot bind; it has logged why.
        return False
    log.info("stopped")
    return server.started
