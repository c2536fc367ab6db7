"""docs/configuration.md says what the classes say: every key, and examples that the program takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, TypeAdapter

from livekit_platform import config_docs
from livekit_platform.config import Node, PlatformConfig, Secrets
from livekit_platform.config_docs import Key

KEYS = {key.path: key for key in config_docs.all_keys()}


def test_the_committed_page_is_the_generated_one() -> None:
    assert config_docs.PAGE.read_text() == config_docs.page(), "`make docs` writes it anew"


def leaves(model: type[BaseModel], prefix: str) -> set[str]:
    """Every key, by another way than the page's: as a JSON schema sees the classes."""
    schema = model.model_json_schema(mode="validation")

    def walk(node: dict[str, Any], path: str) -> set[str]:
        options = [node, *node.get("allOf", []), *node.get("anyOf", [])]
        for option in options:
            if "$ref" in option:
                return walk(schema["$defs"][option["$ref"].rpartition("/")[2]], path)
            if "$ref" in option.get("items", {}):
                return walk(option["items"], f"{path}[]")
        if "properties" not in node:
            return {path}
        return {
            leaf
            for name, inner in node["properties"].items()
            for leaf in walk(inner, f"{path}.{name}".lstrip("."))
        }

    return walk(schema, prefix)


def test_every_key_is_on_the_page() -> None:
    assert set(KEYS) == leaves(PlatformConfig, "")
    assert len(KEYS) > 80
    page = config_docs.page()
    for path in KEYS:
        assert page.count(f"\n| `{path}` |") == 1, path


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_has_a_sentence_a_type_a_default_and_an_example(key: Key) -> None:
    assert len(key.allowed) > 10
    assert key.type
    assert key.default
    assert key.example not in ("nothing", "empty"), f"{key.path}: give the field `examples`"


# What depends on a file of the owner's own cannot be checked here.
@pytest.mark.parametrize(
    "key",
    [key for key in KEYS.values() if not key.secret and key.path != "kubeconfig"],
    ids=lambda key: key.path,
)
def test_an_example_is_a_value_that_the_program_takes(key: Key) -> None:
    TypeAdapter(key.annotation).validate_python(key.example_value)


def test_defaults_are_those_of_the_very_place() -> None:
    # One class, other defaults in each part.
    assert KEYS["livekit.resources.memory_limit"].default == "`2Gi`"
    assert KEYS["turn.resources.memory_limit"].default == "`512Mi`"
    assert KEYS["nodes[].name"].default == "**required**"
    assert KEYS["edge.tls.issuer.name"].default == "**required** in its part"
    assert KEYS["livekit.replicas"].default == "nothing"
    assert KEYS["livekit.interfaces"].default == '`["eth0"]`'
    assert KEYS["ports.turn_relay.last"].default == "`49999`"


def test_types_say_their_ranges() -> None:
    assert KEYS["ports.signal"].type == "whole number, 1 to 65535"
    assert KEYS["livekit.replicas"].type == "whole number, from 1"
    assert KEYS["turn.kind"].type == "`coturn` or `embedded`"
    assert KEYS["nodes[].address"].type == "IPv4 address"
    assert KEYS["nodes[].internal_address"].type == "IPv4 address"
    assert KEYS["network.node_cidrs"].type == "list of IPv4 networks"
    assert KEYS["edge.ingress_annotations"].type == "object of texts"
    assert KEYS["domain"].type == "text, up to 200 characters"


def test_secrets_are_told_by_how_they_are_set_and_never_by_a_value() -> None:
    secrets = [key for key in KEYS.values() if key.secret]
    assert [key.path for key in secrets] == [
        *(f"secrets.{name}" for name in Secrets.model_fields),
        "certificates.ca_private_key",
        "certificates.server_private_key",
    ]
    for key in secrets:
        assert key.example == f"`pulumi config set --secret --path livekit-platform:{key.path}`"
        assert key.default == "nothing"


def test_a_key_without_an_example_or_a_sentence_would_be_noticed() -> None:
    class Bare(BaseModel):
        name: str | None = None
        token: SecretStr | None = None

    [name, token] = [
        key for field, info in Bare.model_fields.items() for key in config_docs._keys(field, info)
    ]
    assert (name.allowed, name.example, token.secret) == ("", "nothing", True)


def test_what_breaks_a_table_is_escaped() -> None:
    [key] = config_docs._keys("a", Node.model_fields["name"])
    row = config_docs._table([Key(**{**key.__dict__, "allowed": "this | that"})]).splitlines()[-1]
    assert row.endswith("| this \\| that |")
    assert json.dumps(row)
