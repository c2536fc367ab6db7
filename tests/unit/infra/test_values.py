"""What servers and charts are given, as plain functions of the configuration."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

import pytest
import yaml

from livekit_platform import endpoints
from livekit_platform.config import PlatformConfig
from livekit_platform.values import coturn, livekit, object_store, redis, token_api
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.program import TRANSLATED

STRONG = "0123456789abcdefghijklmnopqrstuv"


def test_livekit_is_held_to_the_nodes_own_interface_and_to_its_ports(make_config: ConfigMaker) -> None:
    config = make_config(livekit={"interfaces": ["ens3", "ens4"]}, turn={"kind": "embedded"})
    server = livekit.server_config(config)
    rtc = {key: value for key, value in server["rtc"].items() if key != "congestion_control"}
    assert rtc == {
        "udp_port": 7882,
        "tcp_port": 7881,
        "use_external_ip": False,
        "interfaces": {"includes": ["ens3", "ens4"]},
    }
    assert server["port"] == 7880
    assert server["prometheus"] == {"port": 6789}


def test_congestion_is_noticed_sooner_and_answered_as_livekit_does(make_config: ConfigMaker) -> None:
    """ADR 21: loss that counts in full, or probes of a second, make viewers stand still; both were tried."""
    control = livekit.server_config(make_config())["rtc"]["congestion_control"]
    assert control == {
        "enabled": True,
        "remote_bwe": {"channel_observer_non_probe": control["remote_bwe"]["channel_observer_non_probe"]},
    }
    observer = control["remote_bwe"]["channel_observer_non_probe"]
    own_samples = 12
    assert 0 < observer["estimate"]["required_samples_min"] < observer["estimate"]["required_samples"]
    assert observer["estimate"]["required_samples"] < own_samples
    assert "ratio_threshold" not in observer["nack"]


def test_clients_are_told_of_every_way_to_coturn_with_credentials_that_expire(
    make_config: ConfigMaker,
) -> None:
    config = make_config(domain="lk.example.org", turn={"ttl_seconds": 600})
    server = livekit.with_secrets(
        livekit.server_config(config), api_key="k", api_secret="s", redis_password="p", turn_secret=STRONG
    )
    told = server["rtc"]["turn_servers"]
    assert [(entry["host"], entry["port"], entry["protocol"]) for entry in told] == [
        ("192.0.2.1", 3478, "udp"),
        ("192.0.2.2", 3478, "udp"),
        ("192.0.2.1", 3478, "tcp"),
        ("192.0.2.2", 3478, "tcp"),
        ("turn.lk.example.org", 443, "tls"),
    ]
    assert {(entry["secret"], entry["ttl"]) for entry in told} == {(STRONG, 600)}
    assert server["turn"] == {"enabled": False}


def test_with_an_ingress_turn_over_tls_is_on_its_own_port(make_config: ConfigMaker) -> None:
    server = livekit.server_config(make_config(edge={"kind": "ingress"}))
    [tls] = [entry for entry in server["rtc"]["turn_servers"] if entry["protocol"] == "tls"]
    assert (tls["host"], tls["port"]) == ("turn.lk.localhost", 5349)


def test_the_embedded_server_relays_only_to_sfus_and_leaves_tls_to_the_edge(make_config: ConfigMaker) -> None:
    both = livekit.server_config(make_config(turn={"kind": "embedded"}))["turn"]
    assert both["allow_restricted_peer_cidrs"] == ["192.0.2.1/32", "192.0.2.2/32"]
    assert (both["relay_range_start"], both["relay_range_end"]) == (40000, 49999)
    assert (both["tls_port"], both["external_tls"], both["domain"]) == (5349, True, "turn.lk.localhost")
    one = livekit.server_config(make_config(livekit={"replicas": 1}, turn={"kind": "embedded"}))["turn"]
    assert one["allow_restricted_peer_cidrs"] == ["192.0.2.1/32"]
    # Nobody would end TLS in front of it.
    alone = livekit.server_config(make_config(turn={"kind": "embedded"}, edge={"kind": "ingress"}))["turn"]
    assert "tls_port" not in alone


@pytest.mark.parametrize("nodes", [TRANSLATED, TRANSLATED[1:]], ids=["translated", "plain"])
def test_the_embedded_server_denies_every_address_but_the_sfus(
    make_config: ConfigMaker, nodes: list[dict[str, str]]
) -> None:
    """As LiveKit judges: a private address must be allowed, and then none may be denied, public ones too."""
    turn = livekit.server_config(make_config(nodes=nodes, turn={"kind": "embedded"}))["turn"]
    sfus = {address for node in nodes for key, address in node.items() if key != "name"}
    assert {cidr.removesuffix("/32") for cidr in turn["allow_restricted_peer_cidrs"]} == sfus
    denied = [IPv4Network(cidr) for cidr in turn["deny_peer_cidrs"] if cidr != "::/0"]
    # They overlap neither each other nor an SFU, and leave nothing else.
    assert sum(network.num_addresses for network in denied) == 2**32 - len(sfus)
    assert len(list(collapse_addresses(denied))) == len(denied)
    assert not any(IPv4Address(address) in network for address in sfus for network in denied)
    assert "::/0" in turn["deny_peer_cidrs"]


def test_webhooks_go_to_token_api_signed_with_a_key_that_the_server_has(make_config: ConfigMaker) -> None:
    config = make_config(namespace="calls", livekit={"api_key": "other"})
    server = livekit.with_secrets(
        livekit.server_config(config),
        api_key="other",
        api_secret=STRONG,
        redis_password="p",
        turn_secret="t",
    )
    assert server["webhook"]["urls"] == ["http://token-api.calls.svc:8080/v1/webhooks/livekit"]
    assert server["keys"] == {server["webhook"]["api_key"]: STRONG}


def test_the_server_s_password_is_the_one_that_redis_knows(make_config: ConfigMaker) -> None:
    server = livekit.with_secrets(
        livekit.server_config(make_config()),
        api_key="k",
        api_secret="s",
        redis_password=STRONG,
        turn_secret="t",
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
    network = {"node_cidrs": ["10.244.0.0/16"], "dns_cidrs": ["169.254.20.10/32"]}
    config = make_config(network=network, livekit={"replicas": 1})
    assert redis.chart_values(config)["networkPolicy"] == {
        "clientCidrs": ["192.0.2.1/32", "10.244.0.0/16"],
        "dnsCidrs": ["169.254.20.10/32"],
    }


def test_policies_name_the_addresses_that_nodes_have_inside(make_config: ConfigMaker) -> None:
    config = make_config(nodes=TRANSLATED)
    inside = ["10.0.0.1/32", "192.0.2.2/32"]
    assert redis.chart_values(config)["networkPolicy"]["clientCidrs"] == inside
    policy = token_api.chart_values(config)["networkPolicy"]
    assert (policy["clientCidrs"], policy["livekitCidrs"]) == (inside, inside)


def test_sfus_are_told_of_addresses_that_their_node_does_not_have(make_config: ConfigMaker) -> None:
    assert livekit.chart_values(make_config(nodes=TRANSLATED))["nodeAddresses"] == {"node-a": "203.0.113.1"}
    assert livekit.chart_values(make_config())["nodeAddresses"] == {}


def test_relays_reach_the_sfus_media_at_both_addresses(make_config: ConfigMaker) -> None:
    config = make_config(
        nodes=TRANSLATED, ports={"media_udp": 17882}, network={"node_cidrs": ["10.244.0.0/32"]}
    )
    assert coturn.chart_values(config)["sfus"] == {
        "cidrs": ["203.0.113.1/32", "10.0.0.1/32", "192.0.2.2/32"],
        "sourceCidrs": ["10.0.0.1/32", "192.0.2.2/32", "10.244.0.0/32"],
        "mediaPort": 17882,
    }


def test_clients_are_told_no_address_inside(make_config: ConfigMaker) -> None:
    config = make_config(nodes=TRANSLATED)
    assert endpoints.node_signal_urls(config) == ["ws://203.0.113.1:7880", "ws://192.0.2.2:7880"]
    assert endpoints.edge_addresses(config) == ["203.0.113.1", "192.0.2.2"]
    for kind in ("coturn", "embedded"):
        told = endpoints.turn_servers(make_config(nodes=TRANSLATED, turn={"kind": kind}))
        assert {server.host for server in told} == {"203.0.113.1", "192.0.2.2", "turn.lk.localhost"}


def test_what_an_ingress_controller_comes_from_reaches_what_it_leads_to(make_config: ConfigMaker) -> None:
    config = make_config(edge={"kind": "ingress"}, network={"ingress_cidrs": ["198.51.100.0/28"]})
    for part in (token_api, object_store):
        assert "198.51.100.0/28" in part.chart_values(config)["networkPolicy"]["clientCidrs"]
    assert "198.51.100.0/28" not in redis.chart_values(config)["networkPolicy"]["clientCidrs"]


def test_token_api_calls_livekit_inside_and_sends_clients_to_the_edge(make_config: ConfigMaker) -> None:
    values = token_api.chart_values(make_config(ports={"signal": 7980, "edge_https": 8443}))
    assert values["livekit"] == {
        "url": "http://livekit-server.livekit.svc:7980",
        "publicUrl": "wss://sfu.lk.localhost:8443",
        "previousKey": False,
    }
    policy = values["networkPolicy"]
    assert (policy["livekitCidrs"], policy["livekitPort"]) == (["192.0.2.1/32", "192.0.2.2/32"], 7980)


def test_token_api_is_called_by_the_edge_and_by_sfus_and_by_nobody_else(make_config: ConfigMaker) -> None:
    policy = token_api.chart_values(make_config())["networkPolicy"]
    assert policy["clientPodLabels"] == [{"app.kubernetes.io/name": "edge"}]
    assert policy["clientCidrs"] == ["192.0.2.1/32", "192.0.2.2/32"]
    assert policy["fromAllNamespaces"] is False
    # An Ingress controller is in a namespace of its own, which we do not know.
    policy = token_api.chart_values(make_config(edge={"kind": "ingress"}))["networkPolicy"]
    assert policy["fromAllNamespaces"] is True


def _checksums(config: PlatformConfig) -> dict[str, str]:
    return {
        "livekit": livekit.chart_values(config)["configChecksum"],
        "redis": redis.chart_values(config)["aclChecksum"],
        "token_api": token_api.chart_values(config)["secretChecksum"],
    }


@pytest.mark.parametrize(
    ("changes", "restarted"),
    [
        ({"secrets": {"livekit_api_secret": STRONG}}, {"livekit", "token_api"}),
        ({"secrets": {"redis_password": STRONG}}, {"livekit", "redis"}),
        ({"secrets": {"api_service_key": STRONG}}, {"token_api"}),
        ({"livekit": {"log_level": "debug"}}, {"livekit"}),
        ({"livekit": {"api_key": "other"}}, {"livekit", "token_api"}),
        (
            {
                "livekit": {"previous_api_key": "earlier"},
                "secrets": {"livekit_previous_api_secret": STRONG},
            },
            {"livekit", "token_api"},
        ),
        # Nobody reads it, unless host JWTs are taken by it.
        ({"secrets": {"host_jwt_secret": STRONG}}, set()),
        ({"secrets": {"s3_token_api_secret_key": STRONG}}, {"token_api"}),
        ({"secrets": {"turn_secret": STRONG}}, {"livekit"}),
        ({"domain": "example.org"}, {"livekit"}),  # clients are told TURN's name
        ({"livekit": {"drain_seconds": 60}}, set()),
        ({"edge": {"drain_seconds": 60}}, set()),
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
