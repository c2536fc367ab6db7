"""The egress workers' configuration file: what livekit/egress and the recorder read."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import yaml

from livekit_platform.config import PlatformConfig
from livekit_platform.config.section import bytes_of
from livekit_platform.egress_capacity import (
    LIVEKIT_CPU_COSTS,
    RECORDER_CPU_COSTS,
    RECORDER_SPOOL_BYTES,
    bytes_per_recording,
    finish_seconds,
    recording_bytes,
    recordings_at_once,
    spool_for,
    storage_for,
)
from livekit_platform.values import egress, livekit
from recorder import settings as recorder_settings
from recorder.admission import END_SPOOL_BYTES, LEAST_SPOOL_BYTES
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.egress.configs import BACKUP, KINDS, REDIS, STORES, STRONG
from tests.unit.infra.egress_keys import faults
from tests.unit.infra.program import (
    GENERATED_VALUE,
)


def complete(config: PlatformConfig) -> dict[str, Any]:
    """The configuration file as the Secret holds it."""
    secrets = {name: value.get_secret_value() for name, value in config.secrets.present().items()}
    return egress.with_secrets(egress.config_file(config), secrets)


_EVERYTHING: dict[str, Any] = {
    "backup": BACKUP,
    "cpu_cost": {"room_composite": 2, "track": 0.25, "max_utilization": 0.9},
    "resources": {"cpu_request": "4500m"},
    "session_limits": {"file_output_max_mib": 4096},
}


@pytest.mark.parametrize("own", [{}, _EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize(("kind", "redis_kind", "store"), [*product(KINDS, REDIS, STORES)])
def test_each_worker_takes_every_key_of_its_file(
    workers: ConfigMaker, kind: str, redis_kind: str, store: str, own: dict[str, Any]
) -> None:
    file = complete(workers(kind, REDIS[redis_kind], STORES[store], **own))
    written = yaml.safe_dump(file)
    assert yaml.safe_load(written) == file
    of_livekit = {key: value for key, value in file.items() if key != "recorder"}
    assert list(faults(of_livekit)) == []
    # The recorder refuses unknown keys by itself.
    settings = recorder_settings.parse(written, {})
    assert settings.ignored == (
        () if kind == "recorder" else ("enable_chrome_sandbox", "insecure", "template_port")
    )


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"cluster": "a"}, "cluster: no such key"),
        ({"storage": {"s3": {"buckett": "a"}}}, "storage.s3.buckett: no such key"),
        ({"storage": "s3"}, "storage: 's3' is no section"),
        ({"health_port": "7981"}, "health_port: '7981' is no whole number"),
        ({"session_limits": {"file_output_max_duration": 3600}}, "3600 is no duration"),
        ({"redis": {"sentinel_addresses": "a:1"}}, "'a:1' is no list of texts"),
        ({"insecure": 1}, "insecure: 1 is no true or false"),
    ],
)
def test_what_livekit_egress_does_not_know_is_found(wrong: dict[str, Any], fault: str) -> None:
    [found] = faults(wrong)
    assert fault in found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("redis_kind", REDIS)
def test_workers_use_the_redis_and_the_key_of_the_sfus(
    workers: ConfigMaker, kind: str, redis_kind: str
) -> None:
    config = workers(kind, REDIS[redis_kind], {"livekit": {"api_key": "other"}})
    secrets = {name: value.get_secret_value() for name, value in config.secrets.present().items()}
    server = livekit.with_secrets(
        livekit.server_config(config),
        api_key=config.livekit.api_key,
        api_secret=secrets["livekit_api_secret"],
        redis_password=secrets["redis_password"],
        turn_secret="t",
    )
    file = complete(config)
    assert file["redis"] == server["redis"]
    assert server["keys"] == {file["api_key"]: file["api_secret"]}


def test_workers_join_rooms_inside_the_cluster(workers: ConfigMaker) -> None:
    file = egress.config_file(workers("livekit", {"namespace": "calls", "ports": {"signal": 7890}}))
    assert file["ws_url"] == "ws://livekit-server.calls.svc:7890"
    # Otherwise Chrome refuses an address without TLS.
    assert file["insecure"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_workers_are_of_the_cluster_that_livekit_asks(workers: ConfigMaker, kind: str) -> None:
    """It has no name: livekit-server's requests go to the workers of the cluster ""."""
    assert "cluster_id" not in egress.config_file(workers(kind))


def test_the_stores_are_as_configured(workers: ConfigMaker) -> None:
    own = complete(workers("recorder"))
    assert own["storage"]["s3"] == {
        "endpoint": "http://object-store.livekit.svc:7070",
        "bucket": "recordings",
        "region": "us-east-1",
        "force_path_style": True,
        "max_retries": 10,
        "min_retry_delay": "100ms",
        "max_retry_delay": "20000ms",
        "access_key": "egress",
        "secret": GENERATED_VALUE.format(name="s3-egress-secret-key"),
    }
    assert "backup" not in own
    uploads = {"max_retries": 3, "min_retry_delay_ms": 50, "max_retry_delay_ms": 500}
    given = complete(workers("livekit", STORES["key"], backup=BACKUP, uploads=uploads))
    # Its key is in the owner's Secret.
    assert not {"access_key", "secret"} & set(given["storage"]["s3"])
    assert given["storage"]["s3"]["endpoint"] == "https://s3.example.com"
    assert given["storage"]["s3"]["bucket"] == "calls"
    assert given["backup"]["s3"] == {
        "endpoint": "https://s3.backup.example.com:9000",
        "bucket": "calls-backup",
        "region": "eu-west-1",
        "force_path_style": False,
        "max_retries": 3,
        "min_retry_delay": "50ms",
        "max_retry_delay": "500ms",
        "access_key": "backup-key",
        "secret": f"backup-{STRONG}",
    }
    for file in (own, given):
        assert file["disallow_local_storage"] is True


def test_a_backup_without_a_key_of_its_own_uses_that_of_the_store(workers: ConfigMaker) -> None:
    backup = {key: value for key, value in BACKUP.items() if key != "access_key"}
    config = workers("livekit", STORES["key"], backup=backup)
    assert not {"access_key", "secret"} & set(complete(config)["backup"]["s3"])
    assert egress.chart_values(config)["storeKeySecret"] == "recordings-store"


@pytest.mark.parametrize(
    ("store", "own", "secret", "annotations"),
    [
        ("embedded", {}, "", {}),
        ("key", {}, "recordings-store", {}),
        ("identity", {}, "", {"a.example/role": "all"}),
        ("identity", {"a.example/role": "writer"}, "", {"a.example/role": "writer"}),
        # The AWS SDKs prefer a key in their variables to an identity.
        ("key", {"a.example/role": "writer"}, "", {"a.example/role": "writer"}),
    ],
)
def test_workers_have_a_key_of_the_store_or_an_identity(
    workers: ConfigMaker, store: str, own: dict[str, str], secret: str, annotations: dict[str, str]
) -> None:
    # At another port than that by which a provider gives identities.
    changed = {key: {**value} for key, value in STORES[store].items()}
    for section in changed.values():
        section["external"] = {**section["external"], "endpoint": "https://s3.example.com:9000"}
    config = workers("livekit", changed, service_account_annotations=own)
    values = egress.chart_values(config)
    assert (values["storeKeySecret"], values["serviceAccountAnnotations"]) == (secret, annotations)
    assert (443 in values["networkPolicy"]["publicPorts"]) == bool(annotations)


def test_livekit_egress_counts_by_costs_that_an_upgrade_does_not_change(workers: ConfigMaker) -> None:
    costs = egress.config_file(workers("livekit", cpu_cost={"participant": 1.5}))["cpu_cost"]
    assert costs["room_composite_cpu_cost"] == costs["web_cpu_cost"] == 4
    assert costs["participant_cpu_cost"] == 1.5
    assert costs["max_cpu_utilization"] == 0.8
    assert {f"{request}_cpu_cost" for request in LIVEKIT_CPU_COSTS} <= set(costs)


def test_the_recorder_counts_by_its_own_costs_unless_others_are_given(workers: ConfigMaker) -> None:
    def costs(**cpu_cost: float) -> recorder_settings.CpuCost:
        file = yaml.safe_dump(complete(workers("recorder", cpu_cost=cpu_cost)))
        return recorder_settings.parse(file, {}).cpu_cost

    measured = recorder_settings.CpuCost()
    assert costs().room_composite_cpu_cost == measured.room_composite_cpu_cost
    assert costs(room_composite=0.5).room_composite_cpu_cost == 0.5
    # What the rules of the configuration take them for.
    assert {f"{request}_cpu_cost": cost for request, cost in RECORDER_CPU_COSTS.items()} == {
        key: value
        for key, value in measured.model_dump().items()
        if key.endswith("_cpu_cost") and "web" not in key and value is not None
    }


@pytest.mark.parametrize(("limit", "gibibytes"), [("8Gi", 7.2), ("3Gi", 2.7), ("2500M", 2.09)])
def test_a_worker_ends_a_recording_before_the_kernel_kills_something(
    workers: ConfigMaker, limit: str, gibibytes: float
) -> None:
    resources = {"memory_request": "2Gi", "memory_limit": limit}
    costs = egress.config_file(workers("livekit", resources=resources))["cpu_cost"]
    assert (costs["max_memory"], costs["memory_source"]) == (gibibytes, "cgroup")


def test_sessions_are_limited_as_configured(workers: ConfigMaker) -> None:
    limits = {
        "file_output_max_seconds": 100,
        "stream_output_max_seconds": 200,
        "segment_output_max_seconds": 300,
        "image_output_max_seconds": 400,
        "file_output_max_mib": 5,
    }
    file = egress.config_file(workers("recorder", session_limits=limits, log_level="debug"))
    assert file["session_limits"] == {
        "file_output_max_duration": "100s",
        "file_output_max_size": 5 * 2**20,
        "stream_output_max_duration": "200s",
        "segment_output_max_duration": "300s",
        "image_output_max_duration": "400s",
    }
    assert file["logging"] == {"level": "debug", "json": True}


def test_recordings_end_before_they_fill_the_temporary_storage(workers: ConfigMaker) -> None:
    def largest(config: PlatformConfig) -> int:
        size = egress.config_file(config)["session_limits"]["file_output_max_size"]
        assert isinstance(size, int)
        return size

    one = workers("livekit", temporary_storage="30Gi")
    assert 0.85 * bytes_of("30Gi") < largest(one) < bytes_of("30Gi")
    three = workers("livekit", temporary_storage="60Gi", resources={"cpu_request": "15"})
    assert 3 * largest(three) < bytes_of("60Gi") < 3.5 * largest(three)
    # The recorder has a volume, and says itself when it is full.
    assert largest(workers("recorder")) == 0


@pytest.mark.parametrize(("cores", "rooms"), [(4, 1), (9, 1), (10, 2), (15, 3)])
def test_a_second_recording_must_leave_a_fifth_of_the_cores(cores: float, rooms: int) -> None:
    assert recordings_at_once(cores, 0.8, 4) == rooms


def test_storage_is_enough_for_recordings_that_are_limited_by_it() -> None:
    recording = recording_bytes(3128, 21600)
    assert recording == 8_445_600_000
    for at_once in (1, 2, 7):
        assert bytes_per_recording(storage_for(recording, at_once), at_once) >= recording


def test_all_recordings_at_once_can_begin_in_the_spool(workers: ConfigMaker) -> None:
    """By the recorder's own figures: none is refused for its space, and none is ended at once."""
    assert LEAST_SPOOL_BYTES + END_SPOOL_BYTES == RECORDER_SPOOL_BYTES
    for at_once in (1, 2, 7):
        size = f"{-(-spool_for(at_once) // 2**20)}Mi"
        config = workers("recorder", spool={"size": size}, resources={"cpu_request": str(at_once)})
        assert config.egress.recordings_at_once == at_once
        limit = egress.config_file(config)["recorder"]["spool_max_bytes"]
        assert limit >= LEAST_SPOOL_BYTES + END_SPOOL_BYTES * (at_once - 1)
        assert limit - LEAST_SPOOL_BYTES * at_once >= END_SPOOL_BYTES * at_once


def test_the_recorder_knows_its_volume_and_when_it_must_have_ended(workers: ConfigMaker) -> None:
    config = workers("recorder", spool={"size": "10Gi"}, termination_grace_seconds=300)
    settings = recorder_settings.parse(yaml.safe_dump(complete(config)), {}).recorder
    assert str(settings.spool) == egress.SPOOL
    assert settings.spool_max_bytes == 9 * 2**30
    # A third of the time is for the rest of the files.
    assert settings.shutdown_grace == 200
    assert "recorder" not in egress.config_file(workers("livekit"))


@pytest.mark.parametrize(("grace", "left"), [(60, 20), (600, 200), (1800, 600), (18000, 600)])
def test_ended_recordings_have_time_to_be_uploaded(grace: int, left: int) -> None:
    assert finish_seconds(grace) == left
