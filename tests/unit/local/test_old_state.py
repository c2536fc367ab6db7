"""Converts a stack of this project's earlier Kubernetes provider to the official provider."""

from __future__ import annotations

import copy
import json
from typing import Any

from local.old_state import converted, mentions_old_provider

_INPUTS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
_SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}


def _exported() -> dict[str, Any]:
    old = {**_INPUTS, "metadata": {"name": "c", "uid": "1"}, "__provider": "livekit-platform/local"}
    secret = {"apiVersion": "v1", "kind": "Secret", "data": _SECRET}
    return {
        "version": 3,
        "deployment": {
            "resources": [
                {"urn": "a", "type": "pulumi:pulumi:Stack"},
                {"urn": "b", "type": "kubernetes:helm.sh/v4:Chart"},
                {
                    "urn": "c",
                    "type": "kubernetes:core/v1:ConfigMap",
                    "custom": True,
                    "inputs": _INPUTS,
                    "outputs": old,
                },
                {
                    "urn": "d",
                    "type": "kubernetes:core/v1:Secret",
                    "custom": True,
                    "inputs": secret,
                    "outputs": {**secret, "__provider": "livekit-platform/local"},
                },
                {"urn": "e", "type": "pulumi-python:dynamic:Resource", "custom": True, "outputs": {}},
            ]
        },
    }


def test_each_resource_gets_what_the_official_provider_keeps() -> None:
    before = _exported()
    result, count = converted(before)
    assert count == 2
    assert before == _exported(), "the given one stays as it is"
    *_, config_map, secret, _dynamic = result["deployment"]["resources"]
    assert config_map["outputs"] == {
        **_INPUTS,
        "metadata": {"name": "c", "uid": "1"},
        "__inputs": _INPUTS,
        "__initialApiVersion": "v1",
        "__fieldManager": "livekit-platform",
    }
    # The ciphertext is copied unchanged, so the plain value is not needed.
    assert secret["outputs"]["__inputs"]["data"] == _SECRET
    assert not mentions_old_provider(json.dumps(result).encode())


def test_all_else_stays_as_it_is() -> None:
    before = _exported()
    result, _ = converted(before)
    for index in (0, 1, 4):
        assert result["deployment"]["resources"][index] == before["deployment"]["resources"][index]


def test_a_converted_or_an_official_stack_is_not_converted() -> None:
    once, _ = converted(_exported())
    assert converted(once) == (once, 0)
    official = copy.deepcopy(once)
    official["deployment"]["resources"][2]["outputs"]["__fieldManager"] = "pulumi-kubernetes-1a2b3c4d"
    assert converted(official) == (official, 0)


def test_an_empty_stack_is_not_converted() -> None:
    for empty in ({}, {"deployment": None}, {"deployment": {"resources": None}}):
        assert converted(empty) == (empty, 0)
    assert mentions_old_provider(json.dumps(_exported()).encode())
    assert not mentions_old_provider(b"{}")
    # The engine writes the stack's own name into the state.
    assert not mentions_old_provider(b'{"stack":"organization/livekit-platform/local"}')
    assert mentions_old_provider(b'{"__provider":"livekit-platform/local"}')
