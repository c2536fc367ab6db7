"""Earlier resources are taken out of an exported state, with every reference to them.

tests/stack_secrets does the same with the real engine.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from stack_secrets import takeover
from stack_secrets.takeover import UnreadableState

_URN = "urn:pulumi:staging::livekit-platform::"
STACK = f"{_URN}pulumi:pulumi:Stack::livekit-platform-staging"
COMPONENT = f"{_URN}livekit-platform:components:PlatformSecrets::secrets"
PROVIDER = f"{_URN}pulumi:providers:pulumi-python::default"
CLUSTER = f"{_URN}pulumi:providers:kubernetes::cluster"
TURN = f"{_URN}livekit-platform:components:PlatformSecrets$pulumi-python:dynamic/x::turn-secret"
CA = f"{_URN}livekit-platform:components:Tls$pulumi-python:dynamic/x::edge-ca"
SERVER = f"{_URN}livekit-platform:components:Tls$pulumi-python:dynamic/x::edge-certificate"
TLS = f"{_URN}livekit-platform:components:Tls::tls"
SECRET = f"{_URN}livekit-platform:components:Tls$kubernetes:core/v1:Secret::edge-tls"
OTHER = f"{_URN}kubernetes:core/v1:Namespace::namespace"
_DYNAMIC = "pulumi-python:dynamic/livekit-platform:"


def shown(value: str) -> dict[str, str]:
    """A secret as `--show-secrets` exports it."""
    return {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "plaintext": json.dumps(value),
    }


def exported(*more: dict[str, Any]) -> dict[str, Any]:
    pair = {"certificate": "the certificate", "private_key": shown("the key\n")}
    dynamic = {"custom": True, "provider": f"{PROVIDER}::id", "protect": True}
    return {
        "version": 3,
        "deployment": {
            "manifest": {"version": "v3.250.0"},
            "secrets_providers": {"type": "passphrase"},
            "resources": [
                {"urn": STACK, "type": "pulumi:pulumi:Stack", "outputs": {"a": shown("b")}},
                {"urn": COMPONENT, "type": "livekit-platform:components:PlatformSecrets", "parent": STACK},
                {"urn": PROVIDER, "type": "pulumi:providers:pulumi-python", "custom": True},
                {"urn": CLUSTER, "type": "pulumi:providers:kubernetes", "custom": True},
                {
                    **{"urn": TURN, "type": f"{_DYNAMIC}RandomSecret", "parent": COMPONENT, **dynamic},
                    "outputs": {"value": shown("the turn secret"), "__provider": "pickled"},
                },
                {"urn": TLS, "type": "livekit-platform:components:Tls", "parent": STACK},
                {
                    **{"urn": CA, "type": f"{_DYNAMIC}CertificateAuthority", "parent": TLS, **dynamic},
                    "outputs": pair,
                },
                {
                    **{"urn": SERVER, "type": f"{_DYNAMIC}ServerCertificate", "parent": TLS, **dynamic},
                    "outputs": pair,
                    "dependencies": [CA],
                },
                {
                    **{"urn": SECRET, "type": "kubernetes:core/v1:Secret", "custom": True, "parent": TLS},
                    "provider": f"{CLUSTER}::id",
                    "dependencies": [CA, OTHER, SERVER],
                    "propertyDependencies": {"data": [CA, SERVER], "metadata": [OTHER], "type": None},
                    "deletedWith": TURN,
                    "replaceWith": [TURN, OTHER],
                },
                *more,
            ],
        },
    }


def by_urn(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {resource["urn"]: resource for resource in document["deployment"]["resources"]}


def test_values_are_read_by_name() -> None:
    found = takeover.values(exported())
    assert found.secrets == {"turn_secret": "the turn secret"}
    assert found.authority is not None
    assert (found.authority.certificate, found.authority.private_key) == ("the certificate", "the key\n")
    assert found.server == found.authority
    assert "the turn secret" not in repr(found)
    assert "the key" not in repr(found)


def test_the_resources_and_every_reference_to_them_are_gone() -> None:
    before = exported()
    after = takeover.without_legacy(before)
    assert set(by_urn(after)) == {STACK, CLUSTER, TLS, SECRET}
    text = json.dumps(after)
    for urn in (TURN, CA, SERVER, COMPONENT, PROVIDER):
        assert urn not in text
    assert by_urn(after)[SECRET]["dependencies"] == [OTHER]
    assert by_urn(after)[SECRET]["propertyDependencies"] == {"data": [], "metadata": [OTHER], "type": []}
    assert by_urn(after)[SECRET]["replaceWith"] == [OTHER]


def test_all_else_stays_as_it_is() -> None:
    before = exported()
    untouched = copy.deepcopy(before)
    after = takeover.without_legacy(before)
    assert before == untouched
    for urn in (STACK, CLUSTER, TLS):
        assert by_urn(after)[urn] == by_urn(before)[urn]
    assert {**after["deployment"], "resources": []} == {**before["deployment"], "resources": []}


def test_a_second_time_there_is_nothing_to_do() -> None:
    after = takeover.without_legacy(exported())
    assert takeover.is_needed(exported())
    assert not takeover.is_needed(after)
    assert takeover.without_legacy(after) == after


def test_a_provider_or_a_component_that_something_else_uses_stays() -> None:
    others = [
        {"urn": f"{_URN}x::theirs", "type": "pulumi-python:dynamic:Resource", "provider": f"{PROVIDER}::id"},
        {"urn": f"{_URN}x::child", "type": "x", "parent": COMPONENT},
    ]
    after = by_urn(takeover.without_legacy(exported(*others)))
    assert {PROVIDER, COMPONENT} <= set(after)
    assert not {TURN, CA, SERVER} & set(after)


def test_one_that_waits_for_its_deletion_goes_and_gives_no_value() -> None:
    replaced = {
        **{"urn": TURN, "type": f"{_DYNAMIC}RandomSecret", "delete": True},
        "outputs": {"value": shown("an old one")},
    }
    document = exported(replaced)
    assert takeover.values(document).secrets == {"turn_secret": "the turn secret"}
    assert TURN not in by_urn(takeover.without_legacy(document))


def test_pending_operations_on_them_are_gone_too() -> None:
    document = exported()
    document["deployment"]["pending_operations"] = [
        {"type": "updating", "resource": {"urn": TURN, "type": f"{_DYNAMIC}RandomSecret"}},
        {"type": "updating", "resource": {"urn": SECRET, "type": "x", "dependencies": [CA]}},
    ]
    [left] = takeover.without_legacy(document)["deployment"]["pending_operations"]
    assert (left["resource"]["urn"], left["resource"]["dependencies"]) == (SECRET, [])


@pytest.mark.parametrize("value", [{"ciphertext": "v1:x"}, None, 4, ""])
def test_a_value_that_cannot_be_read_is_no_value(value: object) -> None:
    document = exported()
    by_urn(document)[TURN]["outputs"]["value"] = value
    with pytest.raises(UnreadableState, match="turn-secret: its output `value`"):
        takeover.values(document)


@pytest.mark.parametrize("document", [{}, {"version": 3, "deployment": None}, {"deployment": {}}])
def test_an_empty_state_needs_nothing(document: dict[str, Any]) -> None:
    assert not takeover.is_needed(document)
    assert takeover.values(document).secrets == {}
