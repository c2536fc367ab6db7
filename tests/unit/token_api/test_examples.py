"""The examples of the OpenAPI document: each is what the service takes or gives, and every body has one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from token_api.endpoints.examples import EXAMPLES

# For those who operate the service, not for those who write an application.
_OPERATION = {"Alive", "Ready"}


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_an_example_is_valid_and_whole(model: type[BaseModel]) -> None:
    example = EXAMPLES[model]
    # As JSON: bodies are strict, and there a time is no text.
    read = model.model_validate_json(json.dumps(example))
    # A view ignores what it does not know.
    assert json.loads(read.model_dump_json(exclude_unset=True)) == example


def _schemas(operation: dict[str, Any]) -> Iterator[str]:
    """Names of the schemas of an operation's body, and of its answers where it goes well."""
    parts = [operation.get("requestBody", {})]
    parts += [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for part in parts:
        for content in part.get("content", {}).values():
            schema = content["schema"]
            for one in (schema, *schema.get("anyOf", ())):
                if "$ref" in one:
                    yield one["$ref"].rpartition("/")[2]


async def test_every_body_has_an_example(client: httpx.AsyncClient) -> None:
    document = (await client.get("/v1/openapi.json")).json()
    schemas = document["components"]["schemas"]
    named = {
        name
        for operations in document["paths"].values()
        for operation in operations.values()
        for name in _schemas(operation)
        # A page is a list of what has one.
        if not name.endswith("Page") and name not in _OPERATION
    }
    assert len(named) > 30
    assert [name for name in sorted(named) if not schemas[name].get("examples")] == []
    assert {model.__name__ for model in EXAMPLES} <= named | {"EndpointView"}
