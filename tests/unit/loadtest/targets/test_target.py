from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from livekit import api
from pydantic import SecretStr

from loadtest.net.firewall import Endpoint
from loadtest.net.host import HostNamespace
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.rooms import TargetUnusable
from loadtest.targets.target import server_of, signalling_url, target_of_stack, target_of_url
from tests.unit.loadtest.targets.test_outputs import OUTPUTS

SECRET = SecretStr("a-secret-of-the-tests-own-0123456789")


def _outputs() -> StackOutputs:
    return StackOutputs.model_validate(OUTPUTS)


def test_a_stack_tells_all_that_the_engine_needs() -> None:
    edge = IPv4Address("10.99.0.12")
    with target_of_stack(_outputs()) as target:
        assert target.sfu_nodes == (IPv4Address("10.99.0.11"), IPv4Address("10.99.0.12"))
        assert target.turn == (
            Endpoint("udp", IPv4Address("10.99.0.11"), 3478),
            Endpoint("tcp", edge, 443),
        )
        assert target.token_endpoint is not None
        assert target.token_endpoint.url == "https://api.lk.localhost/v1/token"
        assert target.token_endpoint.names["api.lk.localhost"] == edge
        assert target.rooms.names["sfu.lk.localhost"] == edge
        assert target.cluster is not None
        assert target.cluster.namespace == "livekit"
        with target.client_network(links=False) as network:
            assert network == _outputs().network_of_clients


def test_secrets_are_in_no_text_of_a_target() -> None:
    with target_of_stack(_outputs()) as target:
        shown = f"{target!r} {target.description}"
    assert "hidden" not in shown
    with target_of_url("wss://sfu.example.com", key="key", secret=SECRET) as target:
        assert SECRET.get_secret_value() not in f"{target!r} {target.description}"


@pytest.mark.parametrize(("publish", "subscribe"), [(True, False), (False, True), (True, True)])
def test_tokens_for_a_url_are_made_with_the_key_and_hold_exactly_these_grants(
    publish: bool, subscribe: bool
) -> None:
    with target_of_url("wss://sfu.example.com", key="key", secret=SECRET) as target:
        admission = target.admission("room", "me", publish=publish, subscribe=subscribe)
    claims = api.TokenVerifier("key", SECRET.get_secret_value()).verify(admission.token.get_secret_value())
    assert (admission.url, admission.token_ms) == ("wss://sfu.example.com", None)
    assert claims.identity == "me"
    assert claims.video is not None
    assert (claims.video.room_join, claims.video.room) == (True, "room")
    assert (claims.video.can_publish, claims.video.can_subscribe) == (publish, subscribe)


def test_a_url_without_links_runs_clients_on_the_machine_itself() -> None:
    with (
        target_of_url("ws://127.0.0.1:7880", key="key", secret=SECRET) as target,
        target.client_network(links=False) as host,
    ):
        assert isinstance(host, HostNamespace)
        assert host.command(["true"]) == ["true"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("wss://sfu.example.com", "wss://sfu.example.com"),
        ("ws://192.0.2.1:7880/", "ws://192.0.2.1:7880"),
        ("https://sfu.example.com/livekit", "wss://sfu.example.com/livekit"),
        ("http://192.0.2.1:7880", "ws://192.0.2.1:7880"),
    ],
)
def test_urls_are_taken_as_livekits_tools_take_them(given: str, taken: str) -> None:
    assert signalling_url(given) == taken


@pytest.mark.parametrize(
    "url", ["", "sfu.example.com", "ftp://x", "ws://", "wss://:443", "ws://x:99999", "ws://[x"]
)
def test_other_urls_are_named_with_what_is_allowed(url: str) -> None:
    with pytest.raises(
        TargetUnusable, match=r"--url is .*; allowed is wss://host\[:port\] or ws://"
    ) as refused:
        signalling_url(url)
    assert repr(url) in str(refused.value)


@pytest.mark.parametrize("url", ["wss://me:hidden@x", "wss://x?access_token=hidden"])
def test_a_secret_in_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(TargetUnusable) as refused:
        signalling_url(url)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(("key", "secret", "missing"), [("", "s", "--api-key"), ("k", "", "--api-secret")])
def test_a_missing_key_or_secret_is_named(key: str, secret: str, missing: str) -> None:
    with (
        pytest.raises(TargetUnusable, match=f"{missing} is missing"),
        target_of_url("wss://x", key=key, secret=SecretStr(secret)),
    ):
        pytest.fail("it was taken")


@pytest.mark.parametrize("text", [None, "no certificate", ""])
def test_a_ca_file_without_certificates_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with (
        pytest.raises(TargetUnusable, match=r"--ca is '.*ca\.pem'; allowed is a PEM file"),
        target_of_url("wss://x", key="k", secret=SECRET, ca_file=file),
    ):
        pytest.fail("it was taken")


def test_a_server_is_resolved_once_for_all_its_clients() -> None:
    localhost = IPv4Address("127.0.0.1")
    assert server_of("ws://192.0.2.1", {}) == (Endpoint("tcp", IPv4Address("192.0.2.1"), 80), {})
    assert server_of("wss://a.b", {"a.b": IPv4Address("192.0.2.2")}) == (
        Endpoint("tcp", IPv4Address("192.0.2.2"), 443),
        {"a.b": IPv4Address("192.0.2.2")},
    )
    assert server_of("wss://localhost:7443", {}) == (
        Endpoint("tcp", localhost, 7443),
        {"localhost": localhost},
    )
    with pytest.raises(TargetUnusable, match=r"host 'x\.invalid' of ws://x\.invalid has no IPv4 address"):
        server_of("ws://x.invalid", {})
