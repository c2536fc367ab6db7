"""Which web pages may call: cross-origin requests (CORS), and those that a foreign page makes (CSRF).

No cookie is ever used here, so a foreign page has nothing to ride on. Refusing it outright keeps that
true on the day when something before the service adds credentials of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from token_api.problems import Kind, problem_response

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What a page may send. Never X-On-Behalf-Of: the service key does not belong into a page.
REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id")
# What a page may read beyond what every page may.
ANSWER_HEADERS = ("Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id")
PREFLIGHT_SECONDS = 600


def is_foreign(headers: Headers, allowed: frozenset[str]) -> bool:
    """Whether a request was made by a page of another origin than ours and the `allowed` ones.

    Browsers say where a request comes from, and no page can make them lie; what is no browser says
    nothing, and is judged by its credentials alone.
    """
    origin = headers.get("origin")
    if origin is not None and origin.lower() in allowed:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    if origin is None:
        return False
    # A browser from before Sec-Fetch-Site. Behind a proxy the scheme may differ, the host does not.
    return not headers.get("host") or _authority(origin) != headers["host"].lower()


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class Origins:
    """Answers preflights, lets pages of the allowed origins read answers, and refuses changes by others.

    Credentials mode is not allowed: the browser adds none, the page sends its JWT itself.
    """

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        may_read = origin is not None and origin.lower() in self._allowed

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start" and self._allowed:
                answer = MutableHeaders(scope=message)
                answer.add_vary_header("Origin")
                if may_read:
                    answer["Access-Control-Allow-Origin"] = origin or ""
                    answer["Access-Control-Expose-Headers"] = ", ".join(ANSWER_HEADERS)
            await send(message)

        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(may_read)(scope, receive, send_readable)
        elif scope["method"] not in _SAFE and is_foreign(headers, self._allowed):
            await _forbidden()(scope, receive, send_readable)
        else:
            await self._app(scope, receive, send_readable)

    @staticmethod
    def _preflight(allowed: bool) -> Response:
        if not allowed:
            return _forbidden()
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": ", ".join(METHODS),
                "Access-Control-Allow-Headers": ", ".join(REQUEST_HEADERS),
                "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            },
        )


def _forbidden() -> Response:
    return problem_response(
        Kind.ORIGIN_FORBIDDEN, "Pages of this origin may not call: it is not in TOKEN_API_CORS_ORIGINS."
    )
