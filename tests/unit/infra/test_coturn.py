"""coturn's configuration and the chart's values, and the two ways of TURN that LiveKit is told."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime import rpc

from livekit_platform import config_rules, endpoints
from livekit_platform.config import PlatformConfig, Ports, Turn
from livekit_platform.turn_allocations import most_of_one_address
from livekit_platform.values import coturn, edge, livekit
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.program import GENERATED_VALUE, SECRET, TRANSLATED, local_config, run

SECRET_TEXT = "0123456789abcdefghijklmnopqrstuv"


def settings(config: PlatformConfig, secret: str = SECRET_TEXT) -> dict[str, list[str]]:
    """turnserver.conf as coturn reads it: each key with all its values; a flag has an empty one."""
    found: dict[str, list[str]] = {}
    for line in coturn.turnserver_conf(config, secret).splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    return found


def test_credentials_are_made_with_the_secret_that_livekit_has(make_config: ConfigMaker) -> None:
    config = make_config(domain="live.example.com")
    conf = settings(config)
    assert conf["use-auth-secret"] == [""]
    assert conf["static-auth-secret"] == [SECRET_TEXT]
    assert conf["realm"] == ["live.example.com"]
    server = livekit.with_secrets(
        livekit.server_config(config),
        api_key="k",
        api_secret="s",
        redis_password="p",
        turn_secret=SECRET_TEXT,
    )
    assert {entry["secret"] for entry in server["rtc"]["turn_servers"]} == {SECRET_TEXT}


def test_livekit_tells_clients_the_ports_that_coturn_opens(make_config: ConfigMaker) -> None:
    config = make_config(
        ports={"turn_udp": 3479, "turn_tcp": 3479, "turn_tls": 5350}, edge={"kind": "ingress"}
    )
    conf = settings(config)
    told = {(entry.protocol, str(entry.port)) for entry in endpoints.turn_servers(config)}
    assert told == {
        ("udp", *conf["listening-port"]),
        ("tcp", *conf["listening-port"]),
        ("tls", *conf["tls-listening-port"]),
    }


def test_everything_is_denied_and_the_sfu_nodes_are_allowed(make_config: ConfigMaker) -> None:
    conf = settings(make_config(livekit={"replicas": 1}))
    assert conf["allowed-peer-ip"] == ["192.0.2.1"]
    # Where an SFU has two addresses, either may be the one that a relay is asked for.
    both = settings(make_config(nodes=TRANSLATED))
    assert both["allowed-peer-ip"] == ["203.0.113.1", "10.0.0.1", "192.0.2.2"]
    # The whole of both families, IPv4-mapped addresses with it.
    denied = [tuple(map(ipaddress.ip_address, entry.split("-"))) for entry in conf["denied-peer-ip"]]
    assert [(int(first), int(last), first.version) for first, last in denied] == [
        (0, 2**32 - 1, 4),
        (0, 2**128 - 1, 6),
    ]
    assert conf["no-tcp-relay"] == [""]
    assert conf["no-multicast-peers"] == [""]
    assert "allow-loopback-peers" not in conf


def test_relays_keep_to_their_ports_and_nobody_takes_them_all(make_config: ConfigMaker) -> None:
    conf = settings(make_config(ports={"turn_relay": {"first": 41000, "last": 48999}}))
    assert (conf["min-port"], conf["max-port"]) == (["41000"], ["48999"])
    assert conf["total-quota"] == ["8000"]
    # What two peer connections ask one server for, by UDP, TCP and TLS, and half as many.
    assert conf["user-quota"] == ["9"]
    assert conf["max-allocate-lifetime"] == ["600"]


def test_the_edge_leads_to_turn_over_tls_or_clients_come_to_the_nodes(make_config: ConfigMaker) -> None:
    led = coturn.chart_values(make_config())
    assert led["turnTlsClients"] == {"app.kubernetes.io/name": "edge"}
    assert coturn.chart_values(make_config(edge={"kind": "ingress"}))["turnTlsClients"] == {}


def test_limits_per_address_are_the_same_at_coturn_and_at_the_edge(make_config: ConfigMaker) -> None:
    config = make_config(turn={"allocations_per_address": 77})
    assert coturn.chart_values(config)["limits"]["perAddress"] == 77
    assert edge.chart_values(config)["upstreams"]["turn"]["connectionsPerAddress"] == 77


@pytest.mark.parametrize(
    ("limit", "servers", "edges", "most"),
    [(200, 2, 2, 1200), (200, 1, 2, 1400), (200, 2, 0, 1000), (200, 3, 2, 1134), (0, 2, 2, 0)],
)
def test_one_address_holds_what_it_begins_by_udp_until_that_ends(
    limit: int, servers: int, edges: int, most: int
) -> None:
    # Four times in the 600 s of an allocation a silent flow is forgotten after 150 s; and TCP, and the edges.
    assert most_of_one_address(limit, servers, edges) == most


def test_by_default_there_are_relays_enough_for_fifteen_nodes(make_config: ConfigMaker) -> None:
    nodes = [(f"node-{number}", f"192.0.2.{number}") for number in range(1, 16)]
    make_config(nodes=[{"name": name, "address": address} for name, address in nodes])


@pytest.mark.parametrize(
    "word", ["cli", "web-admin", "dtls", "rfc5780", "tlsv1", "tlsv1_1", "no-auth", "verbose"]
)
def test_what_coturn_leaves_off_is_left_off(make_config: ConfigMaker, word: str) -> None:
    assert word not in settings(make_config())


def test_coturn_reports_where_the_exporter_s_redis_is_or_not_at_all(make_config: ConfigMaker) -> None:
    on = make_config(ports={"turn_reports": 9700, "turn_metrics": 9701})
    assert settings(on)["redis-statsdb"] == ['"ip=127.0.0.1 dbname=0 port=9700"']
    values = coturn.chart_values(on)
    assert values["metrics"]["enabled"] is True
    assert (values["ports"]["reports"], values["ports"]["metrics"]) == (9700, 9701)
    off = make_config(turn={"metrics": False})
    assert "redis-statsdb" not in settings(off)
    assert coturn.chart_values(off)["metrics"]["enabled"] is False
    # Its own, which Debian does not build.
    assert not {key for conf in (settings(on), settings(off)) for key in conf if "prometheus" in key}


def test_one_server_per_turn_node(make_config: ConfigMaker) -> None:
    both = coturn.chart_values(make_config())
    assert (both["replicas"], both["nodeNames"]) == (2, ["node-a", "node-b"])
    one = coturn.chart_values(make_config(turn={"replicas": 1}))
    assert (one["replicas"], one["nodeNames"]) == (1, ["node-a"])


def test_the_certificate_is_the_edge_s(make_config: ConfigMaker) -> None:
    assert coturn.chart_values(make_config())["tlsSecret"] == {"name": "edge-tls"}
    given = make_config(edge={"tls": {"kind": "secret", "secret_name": "wildcard"}})
    assert coturn.chart_values(given)["tlsSecret"] == {"name": "wildcard"}


@pytest.mark.parametrize(
    ("changes", "restarts"),
    [
        ({"secrets": {"turn_secret": SECRET_TEXT}}, True),
        ({"secrets": {"redis_password": SECRET_TEXT}}, False),
        ({"livekit": {"replicas": 1}}, True),
        ({"livekit": {"log_level": "debug"}}, False),
        ({"edge": {"tls": {"kind": "secret", "secret_name": "wildcard"}}}, False),
    ],
)
def test_the_configuration_s_checksum_changes_with_it_and_only_then(
    make_config: ConfigMaker, changes: dict[str, Any], restarts: bool
) -> None:
    before, after = make_config(), make_config(**changes)
    same = coturn.chart_values(before)["configChecksum"] == coturn.chart_values(after)["configChecksum"]
    assert same is not restarts


def test_values_hold_no_secret(make_config: ConfigMaker) -> None:
    config = make_config(secrets={"turn_secret": SECRET_TEXT})
    assert SECRET_TEXT not in str(coturn.chart_values(config))


def test_coturn_has_one_port_for_udp_and_tcp() -> None:
    ports = Ports(turn_udp=3478, turn_tcp=3480)
    [mistake] = config_rules.broken({"turn": Turn(kind="coturn"), "ports": ports}, "staging")
    assert mistake.key == "ports.turn_tcp"
    assert mistake.given == "3480"
    assert "3478" in mistake.allowed
    assert config_rules.broken({"turn": Turn(kind="embedded"), "ports": ports}, "staging") == []


def test_the_program_deploys_coturn_with_its_secret_after_the_certificate(kubeconfig: Path) -> None:
    deployment = run(local_config(kubeconfig))
    [secret] = [entry for entry in deployment.of_type(SECRET) if entry.name == "coturn-config"]
    assert rpc.is_rpc_secret(secret.inputs["data"]), "it would stand unencrypted in the state"
    [component] = [
        entry for entry in deployment.resources.values() if entry.type.endswith(":components:Coturn")
    ]
    assert any("edge-tls" in urn for urn in component.dependencies)
    generated = GENERATED_VALUE.format(name="turn-secret")
    assert generated not in str(deployment.chart("coturn").inputs)
    assert [urn.split("::")[-1] for urn in deployment.chart("coturn").dependencies] == ["coturn-config"]


def test_with_the_embedded_server_no_coturn_runs(kubeconfig: Path) -> None:
    config = local_config(kubeconfig)
    deployment = run({**config, "turn": {"kind": "embedded"}})
    # Declared, so that its pods are gone before SFUs take their ports; not deployed.
    assert deployment.chart("coturn").inputs["values"]["replicas"] == 0
