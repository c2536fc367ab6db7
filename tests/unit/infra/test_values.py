"""What servers and charts are given, as plain functions of the configuration."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from livekit_platform.config import PlatformConfig
from livekit_platform.values import livekit, redis, token_api
from tests.unit.infra.conftest import ConfigMaker

STRONG = "0123456789abcdefghijklmnopqrstuv"


def test_livekit_is_held_to_the_nodes_own_interface_and_to_its_ports(make_config: ConfigMaker) -> None:
    server = livekit.server_config(make_config(livekit={"interfaces": ["ens3", "ens4"]}))
    assert server["rtc"] == {
        "udp_port": 7882,
        "tcp_port": 7881,
        "use_external_ip": False,
        "interfaces": {"includes": ["ens3", "ens4"]},
    }
    assert server["port"] == 7880
    assert server["prometheus"] == {"port": 6789}


def test_turn_relays_only_to_the_nodes_that_run_sfus(make_config: ConfigMaker) -> None:
    both = livekit.server_config(make_config())["turn"]
    assert both["allow_restricted_peer_cidrs"] == ["192.0.2.1/32", "192.0.2.2/32"]
    assert (both["relay_range_start"], both["relay_range_end"]) == (40000, 40199)
    one = livekit.server_config(make_config(livekit={"replicas": 1}))["turn"]
    assert one["allow_restricted_peer_cidrs"] == ["192.0.2.1/32"]


def test_webhooks_go_to_token_api_signed_with_a_key_that_the_server_has(make_config: ConfigMaker) -> None:
    config = make_config(namespace="calls", livekit={"api_key": "other"})
    server = livekit.with_secrets(
        livekit.server_config(config), api_key="other", api_secret=STRONG, redis_password="p"
    )
    assert server["webhook"]["urls"] == ["http://token-api.calls.svc:8080/v1/webhooks/livekit"]
    assert server["keys"] == {server["webhook"]["api_key"]: STRONG}


def test_the_server_s_password_is_the_one_that_redis_knows(make_config: ConfigMaker) -> None:
    server = livekit.with_secrets(
        livekit.server_config(make_config()), api_key="k", api_secret="s", redis_password=STRONG
    )
    assert server["redis"] == {
        "address": "redis.livekit.svc:6379",
        "username": "livekit",
        "password": STRONG,
    }
    acl = redis.acl_file(STRONG)
    assert f"user livekit on #{hashlib.sha256(STRONG.encode()).hexdigest()} " in acl
    assert STRONG not in acl


def test_one_sfu_per_node_on_the_nodes_that_are_named(make_config: ConfigMaker) -> None:
    both = livekit.chart_values(make_config())
    assert (both["replicas"], both["nodeNames"]) == (2, ["node-a", "node-b"])
    one = livekit.chart_values(make_config(livekit={"replicas": 1}))
    assert (one["replicas"], one["nodeNames"]) == (1, ["node-a"])


def test_only_sfu_nodes_and_named_networks_reach_redis(make_config: ConfigMaker) -> None:
    values = redis.chart_values(make_config(redis={"client_cidrs": ["10.244.0.0/16"]}))
    assert values["networkPolicy"] == {"clientCidrs": ["192.0.2.1/32", "192.0.2.2/32", "10.244.0.0/16"]}


def test_token_api_calls_livekit_inside_and_sends_clients_outside(make_config: ConfigMaker) -> None:
    values = token_api.chart_values(make_config(ports={"signal": 7980}))
    assert values["livekit"] == {
        "url": "http://livekit-server.livekit.svc:7980",
        "publicUrl": "ws://192.0.2.1:7980",
    }
    assert values["networkPolicy"] == {"livekitCidrs": ["192.0.2.1/32", "192.0.2.2/32"], "livekitPort": 7980}
    assert values["service"] == {"type": "NodePort", "port": 8080, "nodePort": 30080}


def _checksums(config: PlatformConfig) -> dict[str, str]:
    return {
        "livekit": livekit.chart_values(config)["configChecksum"],
        "redis": redis.chart_values(config)["aclChecksum"],
        "token_api": token_api.chart_values(config)["secretChecksum"],
    }


@pytest.mark.parametrize(
    ("changes", "restarted"),
    [
        ({"secrets": {"generation": 2}}, {"livekit", "redis", "token_api"}),
        ({"secrets": {"livekit_api_secret": STRONG}}, {"livekit", "token_api"}),
        ({"secrets": {"redis_password": STRONG}}, {"livekit", "redis"}),
        ({"secrets": {"api_service_key": STRONG}}, {"token_api"}),
        ({"livekit": {"log_level": "debug"}}, {"livekit"}),
        ({"livekit": {"api_key": "other"}}, {"livekit", "token_api"}),
        ({"livekit": {"drain_seconds": 60}}, set()),
        ({"domain": "example.org"}, set()),
    ],
)
def test_pods_restart_when_what_they_read_has_changed_and_only_then(
    make_config: ConfigMaker, changes: dict[str, object], restarted: set[str]
) -> None:
    before, after = _checksums(make_config()), _checksums(make_config(**changes))
    assert {part for part in before if before[part] != after[part]} == restarted


def test_another_given_secret_restarts_too(make_config: ConfigMaker) -> None:
    one = _checksums(make_config(secrets={"redis_password": STRONG}))
    other = _checksums(make_config(secrets={"redis_password": STRONG[::-1]}))
    assert one["redis"] != other["redis"]
    assert _checksums(make_config(secrets={"redis_password": STRONG})) == one


def test_the_server_s_configuration_is_plain_yaml(make_config: ConfigMaker) -> None:
    server = livekit.server_config(make_config())
    assert yaml.safe_load(yaml.safe_dump(server)) == server
