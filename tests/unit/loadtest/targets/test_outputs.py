import json
from ipaddress import IPv4Address
from typing import Any

import pytest
from pydantic import ValidationError

from loadtest.net.firewall import Endpoint, Protocol
from loadtest.targets.outputs import StackOutputs, endpoint_of

OUTPUTS: dict[str, Any] = {
    "namespace": "livekit",
    "domain": "lk.localhost",
    "signal_url": "wss://sfu.lk.localhost",
    "signal_urls": ["ws://10.99.0.11:7880", "ws://10.99.0.12:7880"],
    "turn_urls": ["turn:10.99.0.11:3478?transport=udp", "turns:turn.lk.localhost:443?transport=tcp"],
    "api_url": "https://api.lk.localhost",
    "edge_addresses": ["10.99.0.12", "10.99.0.11"],
    "ca_certificate": "",
    "s3_endpoint": "https://s3.lk.localhost",
    "s3_bucket": "recordings",
    "s3_access_key": "hidden-3",
    "s3_secret_key": "hidden-4",
    "livekit_api_key": "key",
    "livekit_api_secret": "hidden-1",
    "api_service_key": "hidden-2",
    "kubeconfig_path": "kubeconfig",
    "client_network": {
        "netns": "switch",
        "bridge": "br0",
        "gateway": "10.99.0.1",
        "addresses": "10.99.0.128/25",
        "prefix": 24,
    },
}


def test_outputs_are_read_and_secrets_stay_out_of_messages() -> None:
    outputs = StackOutputs.model_validate_json(json.dumps({**OUTPUTS, "an_output_of_tomorrow": 1}))
    assert outputs.client_network is not None
    assert outputs.client_network.gateway == IPv4Address("10.99.0.1")
    assert outputs.livekit_api_secret.get_secret_value() == "hidden-1"
    assert "hidden" not in repr(outputs)


def test_a_given_cluster_has_no_client_network() -> None:
    assert StackOutputs.model_validate({**OUTPUTS, "client_network": None}).client_network is None


def test_a_name_of_the_stack_is_at_the_edge_and_an_address_is_itself() -> None:
    outputs = StackOutputs.model_validate(OUTPUTS)
    assert outputs.address_of("sfu.lk.localhost") == IPv4Address("10.99.0.12")
    assert outputs.address_of("lk.localhost") == IPv4Address("10.99.0.12")
    assert outputs.address_of("192.0.2.7") == IPv4Address("192.0.2.7")


@pytest.mark.parametrize("host", ["localhost", "sfu.lk.localhost"])
def test_any_other_name_and_any_at_all_without_an_edge_on_nodes_is_for_dns(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def dns(name: str) -> str:
        asked.append(name)
        return "192.0.2.9"

    monkeypatch.setattr("socket.gethostbyname", dns)
    edge = OUTPUTS["edge_addresses"] if host == "localhost" else []
    outputs = StackOutputs.model_validate({**OUTPUTS, "edge_addresses": edge})
    assert outputs.address_of(host) == IPv4Address("192.0.2.9")
    assert asked == [host]


def test_clients_are_told_every_name_that_the_outputs_use_and_the_ca() -> None:
    network = StackOutputs.model_validate({**OUTPUTS, "ca_certificate": "PEM"}).network_of_clients
    assert network is not None
    assert set(network.names) == {
        "lk.localhost",
        *(f"{host}.lk.localhost" for host in ("api", "s3", "sfu", "turn")),
    }
    assert set(network.names.values()) == {IPv4Address("10.99.0.12")}
    assert network.ca_certificate == "PEM"


def test_clients_of_a_given_cluster_are_nowhere_and_those_of_a_stack_with_dns_are_told_no_name() -> None:
    assert StackOutputs.model_validate({**OUTPUTS, "client_network": None}).network_of_clients is None
    at_dns = StackOutputs.model_validate({**OUTPUTS, "edge_addresses": []})
    assert at_dns.network_of_clients is not None
    assert at_dns.network_of_clients.names == {}


@pytest.mark.parametrize("name", ["livekit_api_secret", "signal_urls", "client_network"])
def test_a_missing_output_is_named(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        StackOutputs.model_validate({key: value for key, value in OUTPUTS.items() if key != name})


@pytest.mark.parametrize(
    ("url", "protocol", "port"),
    [
        ("ws://10.99.0.11:7880", "tcp", 7880),
        ("http://10.99.0.11:30080", "tcp", 30080),
        ("turn:10.99.0.11:3478", "udp", 3478),
        ("turn:10.99.0.11:3478?transport=udp", "udp", 3478),
        ("turn:10.99.0.11:3478?transport=tcp", "tcp", 3478),
        ("turns:10.99.0.11:443?transport=tcp", "tcp", 443),
        ("ws://10.99.0.11", "tcp", 80),
        ("https://10.99.0.11/path", "tcp", 443),
        ("turn:10.99.0.11", "udp", 3478),
        ("turns:10.99.0.11?transport=tcp", "tcp", 5349),
    ],
)
def test_where_a_url_leads(url: str, protocol: Protocol, port: int) -> None:
    assert endpoint_of(url) == Endpoint(protocol, IPv4Address("10.99.0.11"), port)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://10.99.0.11:21", "scheme 'ftp'; allowed are"),
        ("ws://", "lacks a host"),
        ("", "scheme ''"),
        ("ws://sfu.lk.localhost:7880", "sfu.lk.localhost"),
    ],
)
def test_a_url_that_leads_nowhere_is_named(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        endpoint_of(url)
