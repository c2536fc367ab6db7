"""The OpenAPI document, made to say what the service does rather than what FastAPI assumes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from token_api.problems import MEDIA_TYPE

_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_WEBHOOK_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "LiveKit's JWT over the SHA-256 of the body, without 'Bearer'",
}


def document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document with every error as a problem, and no schema that nothing refers to."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for operations in made["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            responses["500"] = {"description": "The service failed"}
            for status, response in responses.items():
                if int(status) >= 400:
                    response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM_REF}}
    components = made.setdefault("components", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(unused, None)
    components.setdefault("securitySchemes", {})["livekitWebhook"] = _WEBHOOK_SCHEME
    return made
