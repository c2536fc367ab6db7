"""The OpenAPI document, made to say what the service does rather than what FastAPI assumes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from token_api.endpoints.examples import EXAMPLES
from token_api.problems import MEDIA_TYPE

_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_SAFE = frozenset({"get", "head"})
_PROBLEM_HEADERS = {
    "401": {"WWW-Authenticate": "`Bearer`"},
    "429": {"Retry-After": "seconds until a request is let through"},
    "503": {"Retry-After": "seconds after which it is worth trying again"},
}
_LIMIT_HEADERS = {
    "RateLimit": "requests that are left at once, for users: draft-ietf-httpapi-ratelimit-headers",
    "RateLimit-Policy": "requests (q) in seconds (w) of this class, for users",
}
_ORIGIN = "A page of an origin that may not call"
_WEBHOOK_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "LiveKit's JWT over the SHA-256 of the body, without 'Bearer'",
}


def document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document with every error as a problem, examples, and no schema that nothing refers to."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for operations in made["paths"].values():
        for method, operation in operations.items():
            responses = operation["responses"]
            responses["500"] = {"description": "The service failed"}
            if method not in _SAFE:
                refused = responses.setdefault("403", {"description": _ORIGIN})
                if refused["description"] != _ORIGIN:
                    refused["description"] += f"; {_ORIGIN.lower()}"
            for status, response in responses.items():
                if int(status) >= 400:
                    response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM_REF}}
                described = _PROBLEM_HEADERS.get(status, {})
                if int(status) < 400 and "429" in responses:
                    described = _LIMIT_HEADERS
                if described:
                    response.setdefault("headers", {}).update(
                        {
                            name: {"description": text, "schema": {"type": "string"}}
                            for name, text in described.items()
                        }
                    )
    components = made.setdefault("components", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(unused, None)
    for model, example in EXAMPLES.items():
        components["schemas"][model.__name__]["examples"] = [example]
    components.setdefault("securitySchemes", {})["livekitWebhook"] = _WEBHOOK_SCHEME
    return made
