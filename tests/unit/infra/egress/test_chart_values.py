"""The values of the egress workers' chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from livekit_platform.values import egress, object_store, redis, token_api
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.egress.configs import BACKUP, BY_KEY, KINDS, REDIS, STORES, STRONG
from tests.unit.infra.program import (
    RECORDER_IMAGE,
    TRANSLATED,
    minimal_config,
)


def test_the_chart_opens_what_the_file_names(workers: ConfigMaker) -> None:
    ports = {"egress_health": 8001, "egress_metrics": 8002, "egress_template": 8003}
    config = workers("livekit", {"ports": ports})
    file, values = egress.config_file(config), egress.chart_values(config)
    assert (file["health_port"], file["prometheus_port"], file["template_port"]) == (8001, 8002, 8003)
    assert values["ports"] == {"health": 8001, "metrics": 8002}
    assert values["configSecret"] == {"name": "egress-config", "key": "config.yaml"}


def test_each_kind_has_its_image_and_resources(workers: ConfigMaker) -> None:
    livekit_egress, recorder = (egress.chart_values(workers(kind)) for kind in KINDS)
    assert livekit_egress["image"] == "docker.io/livekit/egress:v1.14.1"
    assert recorder["image"] == RECORDER_IMAGE
    assert livekit_egress["resources"]["requests"] == {"cpu": "4", "memory": "4Gi"}
    assert recorder["resources"] == {
        "requests": {"cpu": "1", "memory": "512Mi"},
        "limits": {"memory": "2Gi"},
    }
    own = egress.chart_values(workers("recorder", resources={"cpu_request": "2"}))
    assert own["resources"]["requests"] == {"cpu": "2", "memory": "512Mi"}


@pytest.mark.parametrize(
    ("own", "cores"),
    [
        ({}, "1"),
        ({"resources": {"cpu_request": "1500m"}}, "1.5"),
        # It may take more than it asks for.
        ({"cpu_cost": {"cores": 2}}, "2"),
    ],
)
def test_a_worker_counts_the_cores_that_are_configured(
    workers: ConfigMaker, own: dict[str, Any], cores: str
) -> None:
    config = workers("recorder", **own)
    assert egress.chart_values(config)["cores"] == cores
    assert config.egress.cores == float(cores)


def test_a_worker_without_room_pushes_nothing_out_that_calls_need(workers: ConfigMaker) -> None:
    values = egress.chart_values(workers("livekit"))
    assert values["priorityClassName"] == "livekit-api"
    assert values["avoidPodLabels"] == {"app.kubernetes.io/name": "livekit-server"}


def test_workers_reach_sfus_at_all_their_addresses_and_signalling_inside(workers: ConfigMaker) -> None:
    ports = {"signal": 7890, "media_udp": 7892, "ice_tcp": 7891}
    config = workers("recorder", {"nodes": TRANSLATED, "ports": ports})
    assert egress.chart_values(config)["networkPolicy"]["livekit"] == {
        "cidrs": ["10.0.0.1/32", "192.0.2.2/32"],
        "signalPort": 7890,
        # Clients, and so workers, are told the first of these.
        "mediaCidrs": ["203.0.113.1/32", "10.0.0.1/32", "192.0.2.2/32"],
        "mediaUdpPort": 7892,
        "iceTcpPort": 7891,
    }


@pytest.mark.parametrize(
    ("redis_kind", "peers"),
    [
        ("single", {"podLabels": {"app.kubernetes.io/name": "redis"}, "cidrs": [], "ports": [6379]}),
        ("sentinel", {"podLabels": {"app.kubernetes.io/name": "redis"}, "cidrs": [], "ports": [6379, 26379]}),
        ("address", {"podLabels": {}, "cidrs": [], "ports": [6380]}),
        ("sentinels", {"podLabels": {}, "cidrs": [], "ports": [6379, 26380]}),
    ],
)
def test_workers_reach_redis_where_it_is(
    workers: ConfigMaker, redis_kind: str, peers: dict[str, Any]
) -> None:
    assert egress.chart_values(workers("recorder", REDIS[redis_kind]))["networkPolicy"]["redis"] == peers


def test_a_redis_in_known_networks_is_reached_there_only(workers: ConfigMaker) -> None:
    external = {**REDIS["sentinels"]["redis"]["external"], "cidrs": ["10.50.0.0/24"], "server_port": 6390}
    config = workers("recorder", {"redis": {"kind": "external", "external": external}})
    assert egress.chart_values(config)["networkPolicy"]["redis"] == {
        "podLabels": {},
        "cidrs": ["10.50.0.0/24"],
        "ports": [6390, 26380],
    }


def test_workers_reach_the_stores_and_nothing_else_outside(workers: ConfigMaker) -> None:
    def reached(*others: dict[str, Any], **own: Any) -> tuple[list[dict[str, Any]], list[int]]:
        policy = egress.chart_values(workers("recorder", *others, **own))["networkPolicy"]
        return policy["stores"], list(policy["publicPorts"])

    inside = [{"podLabels": {"app.kubernetes.io/name": "object-store"}, "cidrs": [], "port": 7070}]
    assert reached() == (inside, [])
    assert reached(stream_outputs=True) == (inside, [443, 1935])
    assert reached(STORES["key"]) == ([], [443])
    assert reached(STORES["key"], backup=BACKUP) == ([], [443, 9000])
    near = {**BACKUP, "cidrs": ["10.61.0.0/24"]}
    assert reached(backup=near) == (
        [*inside, {"podLabels": {}, "cidrs": ["10.61.0.0/24"], "port": 9000}],
        [],
    )
    store = {"kind": "external", "external": {**BY_KEY, "cidrs": ["10.60.0.0/24"]}}
    assert reached({"object_store": store}) == (
        [{"podLabels": {}, "cidrs": ["10.60.0.0/24"], "port": 443}],
        [],
    )


def test_redis_and_the_object_store_let_workers_in_where_there_are_any(
    workers: ConfigMaker, make_config: ConfigMaker
) -> None:
    labels = {"app.kubernetes.io/name": "egress"}
    config, without = workers("recorder"), make_config()
    assert redis.chart_values(config)["networkPolicy"]["clientPodLabels"] == [labels]
    assert labels in object_store.chart_values(config)["networkPolicy"]["clientPodLabels"]
    assert "clientPodLabels" not in redis.chart_values(without)["networkPolicy"]
    assert labels not in object_store.chart_values(without)["networkPolicy"]["clientPodLabels"]


def test_autoscaling_is_as_configured(workers: ConfigMaker) -> None:
    fixed = egress.chart_values(workers("livekit"))
    assert (fixed["replicas"], fixed["autoscaling"]["kind"]) == (2, "none")
    assert egress.chart_values(workers("livekit", replicas=7))["replicas"] == 7
    keda = {
        "kind": "keda",
        "min_replicas": 3,
        "max_replicas": 20,
        "headroom": 2,
        "prometheus_url": "http://prometheus.monitoring.svc:9090",
    }
    assert egress.chart_values(workers("livekit", autoscaling=keda))["autoscaling"] == {
        "kind": "keda",
        "minReplicas": 3,
        "maxReplicas": 20,
        "headroom": 2,
        "prometheusUrl": "http://prometheus.monitoring.svc:9090",
        "metric": "livekit_egress_wanted_workers",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_workers_restart_for_what_they_read_and_for_nothing_else(workers: ConfigMaker, kind: str) -> None:
    def checksum(*others: dict[str, Any], **own: Any) -> str:
        found = egress.chart_values(workers(kind, *others, **own))["configChecksum"]
        assert isinstance(found, str)
        return found

    same = {checksum(), checksum({"turn": {"ttl_seconds": 60}}), checksum(replicas=5)}
    assert len(same) == 1
    assert checksum(log_level="debug") not in same
    assert checksum({"livekit": {"api_key": "other"}}) not in same


@pytest.mark.parametrize("name", ["livekit_api_secret", "redis_password", "s3_egress_secret_key"])
def test_workers_restart_with_another_secret_of_theirs(
    make_config: ConfigMaker, kubeconfig: Path, name: str
) -> None:
    images = {**minimal_config(kubeconfig)["images"], "recorder": RECORDER_IMAGE}
    before, after = (
        egress.chart_values(make_config(images=images, egress={"kind": "recorder"}, secrets=secrets))
        for secrets in ({}, {name: STRONG})
    )
    assert before["configChecksum"] != after["configChecksum"]
    assert STRONG not in str(after)


@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_token_api_is_told_what_records(workers: ConfigMaker, kind: str) -> None:
    assert token_api.chart_values(workers(kind))["egressKind"] == kind
