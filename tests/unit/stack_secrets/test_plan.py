"""Which values are added to a stack's configuration, and which are never replaced."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from livekit_platform import certificates
from livekit_platform.certificates import (
    KeyPair,
    authority_fault,
    new_authority,
    new_server_certificate,
    server_fault,
    server_names,
)
from livekit_platform.config import Edge, ObjectStore, Redis, TokenApi
from stack_secrets.plan import Change, WrongName, changes, replaceable
from stack_secrets.takeover import TakenOver

DOMAIN = "lk.example.org"
OWN = Edge.model_validate({"tls": {"kind": "own_ca"}})
GIVEN = Edge.model_validate({"tls": {"kind": "secret", "secret_name": "wildcard"}})
NEEDED = {"livekit_api_secret", "turn_secret", "api_service_key", "redis_password"}
HOST_AUTH = {"kind": "secret", "issuer": "https://host.example.org", "audience": "token-api"}
NOTHING: dict[str, dict[str, str]] = {"secrets": {}, "certificates": {}}


def sections(edge: Edge = GIVEN) -> dict[str, Any]:
    store = ObjectStore.model_validate(
        {
            "kind": "external",
            "external": {"endpoint": "https://s3.example.com", "secret_name": "keys"},
        }
    )
    return {
        "domain": DOMAIN,
        "edge": edge,
        "redis": Redis.model_validate({"kind": "single"}),
        "object_store": store,
        "token_api": TokenApi(),
    }


def settings(found: list[Change]) -> dict[str, str]:
    return {setting.key: setting.value for change in found for setting in change.settings}


def present(found: list[Change], before: dict[str, dict[str, str]] = NOTHING) -> dict[str, dict[str, str]]:
    """The configuration after `found`."""
    after = {section: dict(values) for section, values in before.items()}
    for key, value in settings(found).items():
        section, _, name = key.partition(".")
        after[section][name] = value
    return after


def pairs(values: dict[str, dict[str, str]]) -> tuple[KeyPair, KeyPair]:
    made = values["certificates"]
    authority = KeyPair(made["ca_certificate"], made["ca_private_key"])
    return authority, KeyPair(made["server_certificate"], made["server_private_key"])


def test_what_is_missing_is_created_and_nothing_else() -> None:
    found = changes(sections(), NOTHING, TakenOver())
    assert set(settings(found)) == {f"secrets.{name}" for name in NEEDED}
    assert {change.report for change in found} == {f"created secrets.{name}" for name in NEEDED}
    assert changes(sections(), present(found), TakenOver()) == []


def test_every_value_is_256_random_bits() -> None:
    values = [
        value for _ in range(20) for value in settings(changes(sections(), NOTHING, TakenOver())).values()
    ]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)


@pytest.mark.parametrize("given", ["given", ""])
def test_a_value_that_is_present_stays_right_or_wrong(given: str) -> None:
    """The preview validates a present value; `make secrets` never overwrites it."""
    found = changes(sections(), {**NOTHING, "secrets": {"turn_secret": given}}, TakenOver())
    assert "secrets.turn_secret" not in settings(found)
    assert len(found) == len(NEEDED) - 1


def test_one_secret_is_replaced_on_request() -> None:
    before = present(changes(sections(), NOTHING, TakenOver()))
    found = changes(sections(), before, TakenOver(), rotate="turn_secret")
    assert [change.report for change in found] == ["replaced secrets.turn_secret"]
    assert settings(found)["secrets.turn_secret"] != before["secrets"]["turn_secret"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("api_service_key", "previous_api_service_key"), ("host_jwt_secret", "previous_host_jwt_secret")],
)
def test_the_earlier_value_is_kept_where_two_are_accepted(name: str, kept: str) -> None:
    needs = {**sections(), "token_api": TokenApi.model_validate({"host_auth": HOST_AUTH})}
    before = present(changes(needs, NOTHING, TakenOver()))
    [change] = changes(needs, before, TakenOver(), rotate=name)
    assert change.report == f"replaced secrets.{name}; the earlier value is still accepted, as secrets.{kept}"
    after = settings([change])
    assert after[f"secrets.{kept}"] == before["secrets"][name] != after[f"secrets.{name}"]
    [created] = [one for one in changes(needs, NOTHING, TakenOver(), rotate=name) if name in one.report]
    assert created.report == f"created secrets.{name}"


@pytest.mark.parametrize(
    "name", ["turn", "secrets.turn_secret", "redis_replication_password", "ca_certificate"]
)
def test_a_name_that_the_stack_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(WrongName) as caught:
        changes(sections(), NOTHING, TakenOver(), rotate=name)
    assert str(caught.value).startswith(f"ROTATE: given '{name}', allowed are livekit_api_secret, ")
    assert set(replaceable(sections())) == NEEDED


def test_certificates_are_created_for_their_kind() -> None:
    values = present(changes(sections(OWN), NOTHING, TakenOver()))
    authority, server = pairs(values)
    assert authority_fault(authority, DOMAIN) is None
    assert server_fault(server, authority.certificate, server_names(DOMAIN)) is None
    assert changes(sections(OWN), values, TakenOver()) == []


def test_only_keys_are_encrypted() -> None:
    found = changes(sections(OWN), NOTHING, TakenOver())
    plain = {setting.key for change in found for setting in change.settings if not setting.encrypted}
    assert plain == {"certificates.ca_certificate", "certificates.server_certificate"}


def test_no_value_is_in_the_repr_of_a_change() -> None:
    found = changes(sections(OWN), NOTHING, TakenOver())
    assert not [value for value in settings(found).values() if value in repr(found)]


@pytest.mark.parametrize(
    ("after_days", "reports"),
    [
        (59, []),
        (61, ["renewed certificates.server_certificate"]),
        (3650, ["renewed certificates.ca_certificate", "renewed certificates.server_certificate"]),
    ],
)
def test_certificates_are_renewed_in_the_last_third_of_their_life(
    monkeypatch: pytest.MonkeyPatch, after_days: int, reports: list[str]
) -> None:
    before = present(changes(sections(OWN), NOTHING, TakenOver()))
    later = certificates.now() + timedelta(days=after_days)
    monkeypatch.setattr(certificates, "now", lambda: later)
    found = changes(sections(OWN), before, TakenOver())
    assert [change.report for change in found] == reports
    after = present(found, before)
    authority, server = pairs(after)
    assert server_fault(server, authority.certificate, server_names(DOMAIN)) is None
    assert changes(sections(OWN), after, TakenOver()) == []


def test_another_domain_makes_both_anew() -> None:
    before = present(changes(sections(OWN), NOTHING, TakenOver()))
    found = changes({**sections(OWN), "domain": "other.example.org"}, before, TakenOver())
    assert [change.report for change in found] == [
        "renewed certificates.ca_certificate",
        "renewed certificates.server_certificate",
    ]


@pytest.mark.parametrize(
    ("name", "reports"),
    [
        ("server_certificate", ["replaced certificates.server_certificate"]),
        (
            "ca_certificate",
            ["replaced certificates.ca_certificate", "renewed certificates.server_certificate"],
        ),
    ],
)
def test_a_certificate_is_replaced_on_request(name: str, reports: list[str]) -> None:
    before = present(changes(sections(OWN), NOTHING, TakenOver()))
    found = changes(sections(OWN), before, TakenOver(), rotate=name)
    assert [change.report for change in found] == reports
    authority, server = pairs(present(found, before))
    assert server_fault(server, authority.certificate, server_names(DOMAIN)) is None


def taken_over() -> TakenOver:
    authority = new_authority(DOMAIN)
    server = new_server_certificate(server_names(DOMAIN), authority)
    return TakenOver({"turn_secret": "t" * 43, "s3_secret_key": "s" * 43}, authority, server)


def test_values_of_the_state_are_kept() -> None:
    """Secrets that the stack does not need today are also taken over."""
    taken = taken_over()
    values = present(changes(sections(OWN), NOTHING, taken))
    assert {name: values["secrets"][name] for name in taken.secrets} == taken.secrets
    assert pairs(values) == (taken.authority, taken.server)
    assert set(values["secrets"]) == NEEDED | {"s3_secret_key"}


def test_certificates_of_the_state_are_kept_where_another_kind_is_configured() -> None:
    taken = taken_over()
    assert pairs(present(changes(sections(GIVEN), NOTHING, taken))) == (taken.authority, taken.server)


def test_a_given_value_wins_over_the_state_s() -> None:
    given = {"secrets": {"turn_secret": "given"}, "certificates": {}}
    assert "secrets.turn_secret" not in settings(changes(sections(), given, taken_over()))


def test_a_second_takeover_changes_nothing() -> None:
    """This happens after an interrupt between the write of the file and the import of the state."""
    taken = taken_over()
    values = present(changes(sections(OWN), NOTHING, taken))
    assert changes(sections(OWN), values, taken) == []
