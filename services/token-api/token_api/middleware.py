"""What holds for every request, whatever its route: ASGI layers around the application."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from token_api.metrics import Metrics
from token_api.problems import Kind, ProblemError, problem_response

SECURITY_HEADERS = {
    # Tokens and states of the moment: nothing here may be kept.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Pages of the allowed origins use CORS, to which this does not apply.
    "Cross-Origin-Resource-Policy": "same-origin",
    # Whoever broadcasts does so from a page of this origin; what such a page frames may not.
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Asked every few seconds by the kubelet or Prometheus: said at debug level only.
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

log = structlog.get_logger()


class Envelope:
    """The outermost layer: request id, security headers, one log line, and a problem where all else failed.

    It stands inside Starlette's own error layer, whose answers would have none of these.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        started = time.perf_counter()
        status: int | None = None

        async def send_in_envelope(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers["X-Request-Id"] = request_id
                # What a route wants on its answer, whatever that turns out to be.
                headers.update(scope.get("state", {}).get("answer_headers", {}))
            await send(message)

        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            self._metrics.in_flight.track_inprogress(),
        ):
            try:
                await self._app(scope, receive, send_in_envelope)
            except Exception:
                log.exception("request_failed")
                if status is not None:
                    raise  # half an answer is out: only closing the connection can tell the client
                answer = problem_response(Kind.INTERNAL, f"The log has more under {request_id}.")
                await answer(scope, receive, send_in_envelope)
            finally:
                seconds = time.perf_counter() - started
                route = getattr(scope.get("route"), "path", "none")
                # 499: gone before there was an answer. No status that is ever sent.
                self._metrics.observe_request(scope["method"], route, status or 499, seconds)
                write = log.debug if scope["path"] in _QUIET_PATHS else log.info
                # The path without its query: one that a client added may be a token.
                write(
                    "request",
                    method=scope["method"],
                    path=scope["path"][:200],
                    route=route,
                    status=status,
                    caller=scope.get("state", {}).get("actor"),
                    milliseconds=round(seconds * 1000, 1),
                )


def _request_id(headers: Headers) -> str:
    """The caller's own id where it is harmless, so that one id runs through the logs of both."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class BodyLimit:
    """Refuses a body longer than its path allows, declared or not, before it is held in memory.

    FastAPI's `max_body_size` does that too, but answers in plain text.
    """

    def __init__(self, app: ASGIApp, *, default: int, by_path: Mapping[str, int]) -> None:
        self._app = app
        self._default = default
        self._by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._by_path.get(scope["path"], self._default)
        detail = f"Allowed: {limit} bytes."
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            # Closing spares us the reading of a body that nobody wants.
            answer = problem_response(Kind.TOO_LARGE, detail, headers={"Connection": "close"})
            await answer(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise ProblemError(Kind.TOO_LARGE, detail, {"Connection": "close"})
            return message

        await self._app(scope, receive_within_limit, send)
