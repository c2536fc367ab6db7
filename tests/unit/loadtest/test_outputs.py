import json
from ipaddress import IPv4Address
from typing import Any

import pytest
from pydantic import ValidationError

from loadtest.net.firewall import Endpoint, Protocol
from loadtest.outputs import StackOutputs, endpoint_of

OUTPUTS: dict[str, Any] = {
    "namespace": "livekit",
    "domain": "lk.localhost",
    "signal_url": "ws://10.99.0.11:7880",
    "signal_urls": ["ws://10.99.0.11:7880", "ws://10.99.0.12:7880"],
    "turn_urls": ["turn:10.99.0.11:3478?transport=udp"],
    "api_url": "http://10.99.0.11:30080",
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
    ],
)
def test_where_a_url_leads(url: str, protocol: Protocol, port: int) -> None:
    assert endpoint_of(url) == Endpoint(protocol, IPv4Address("10.99.0.11"), port)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://10.99.0.11:21", "scheme 'ftp'; allowed are"),
        ("ws://10.99.0.11", "lacks a host or a port"),
        ("", "scheme ''"),
        ("ws://sfu.lk.localhost:7880", "sfu.lk.localhost"),
    ],
)
def test_a_url_that_leads_nowhere_is_named(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        endpoint_of(url)
