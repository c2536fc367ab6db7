"""The health and metrics ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


@asynccontextmanager
async def serving(
    health_port: int, prometheus_port: int, status: Callable[[], dict[str, Any]], registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Serve both ports meanwhile; a port of 0 is not served.

    The health port answers every path with 200 and the worker's status, as livekit/egress does.

    Raises:
        OSError: a port is in use.
    """

    async def health(_: web.Request) -> web.Response:
        return web.json_response(status())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    runners = []
    try:
        for port, path, handler in (
            (health_port, "/{any:.*}", health),
            (prometheus_port, "/metrics", metrics),
        ):
            if port:
                application = web.Application()
                application.router.add_get(path, handler)
                runner = web.AppRunner(application, access_log=None)
                runners.append(runner)
                await runner.setup()
                await web.TCPSite(runner, "0.0.0.0", port).start()
        yield
    finally:
        for runner in runners:
            await runner.cleanup()
