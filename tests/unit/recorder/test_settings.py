"""The worker's configuration file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from livekit_platform.values import egress
from recorder.settings import Settings, SettingsError, load, parse
from recorder.storage.bucket import Bucket
from tests.unit.infra.program import RECORDER_IMAGE, minimal_config, parse_completed
from tests.unit.recorder.egress_requests import MINIMAL

PASSWORD = "hunter2-0123456789abcdefghijklmnop"


def changed(**changes: Any) -> str:
    """The smallest configuration with these changes; keys have dots for sections, None removes one."""
    given: dict[str, Any] = copy.deepcopy(yaml.safe_load(MINIMAL))
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = given
        for section in sections:
            place = place.setdefault(section, {})
        if value is None:
            del place[key]
        else:
            place[key] = value
    return yaml.safe_dump(given)


def test_what_is_left_out_has_defaults() -> None:
    settings = parse(MINIMAL, {})
    assert settings.ignored == ()
    assert (settings.io_create_timeout, settings.cluster_id) == (15, "")
    assert settings.recorder.allow_request_storage is False
    assert settings.cpu_cost.sdk_audio_cpus == settings.cpu_cost.audio_room_composite_cpu_cost
    target = settings.storage.target
    assert (target.bucket, target.prefix, target.secret, target.max_retries) == (
        "recordings",
        "calls",
        "bucket-secret",
        9,
    )


def test_the_file_that_the_platform_renders_is_read(tmp_path: Path) -> None:
    """Each value arrives under the name by which the worker uses it."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    minimal = minimal_config(kubeconfig)
    given = minimal | {
        "images": {**minimal["images"], "recorder": RECORDER_IMAGE},
        "redis": {"kind": "sentinel"},
        "secrets": {"egress_backup_secret_key": PASSWORD},
        "egress": {
            "kind": "recorder",
            "log_level": "debug",
            "termination_grace_seconds": 300,
            "session_limits": {"file_output_max_seconds": 120},
            "cpu_cost": {"audio_room_composite": 0.3, "max_utilization": 0.9},
            "uploads": {"max_retries": 7, "min_retry_delay_ms": 250, "max_retry_delay_ms": 3000},
            "backup": {
                "endpoint": "https://backup.example.com:9000",
                "bucket": "second",
                "region": "eu",
                "path_style": False,
                "access_key": "backup-key",
            },
        },
    }
    config, mistakes = parse_completed(given)
    assert config is not None, mistakes
    secrets = {field: f"{field}-{PASSWORD}" for field in egress.secret_fields(config)}
    body = yaml.safe_dump(egress.with_secrets(egress.config_file(config), secrets))
    settings = parse(body, {})
    assert settings.ignored == ()
    assert settings.logging.level == "debug"
    assert settings.session_limits.file_output_max_duration == 120
    assert settings.recorder.shutdown_grace == 200
    assert len(settings.redis.sentinel_addresses) == 3
    assert settings.redis.sentinel_password.get_secret_value() == secrets["redis_password"]
    assert settings.cpu_cost.sdk_audio_cpus == 0.3
    assert (settings.cpu_cost.memory_source, settings.cpu_cost.max_cpu_utilization) == ("cgroup", 0.9)
    target = settings.storage.target
    assert (target.max_retries, target.min_retry_delay, target.max_retry_delay) == (7, 0.25, 3)
    assert settings.backup is not None
    assert settings.backup.target.bucket == "second"
    assert PASSWORD not in repr(settings)


def test_the_environment_stands_in_for_missing_keys() -> None:
    environment = {"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s", "LIVEKIT_WS_URL": "wss://w"}
    settings = parse(changed(api_key=None, api_secret=None, ws_url=None), environment)
    assert (settings.api_key, settings.api_secret.get_secret_value(), settings.ws_url) == (
        "k",
        "s",
        "wss://w",
    )
    assert parse(MINIMAL, environment).api_key == "key"


def test_the_file_or_its_text_is_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "egress.yaml"
    path.write_text(changed(cluster_id="a"))
    assert load({"EGRESS_CONFIG_FILE": str(path)}).cluster_id == "a"
    assert (
        load({"EGRESS_CONFIG_BODY": changed(cluster_id="b"), "EGRESS_CONFIG_FILE": str(path)}).cluster_id
        == "b"
    )
    with pytest.raises(SettingsError, match="EGRESS_CONFIG_FILE and EGRESS_CONFIG_BODY are empty"):
        load({})
    with pytest.raises(SettingsError, match=r"EGRESS_CONFIG_FILE: .*No such file"):
        load({"EGRESS_CONFIG_FILE": str(tmp_path / "nothing")})


def test_keys_without_a_meaning_here_are_named() -> None:
    body = changed(
        template_port=7980,
        latency={"pipeline_latency": "3s"},
        io_workers=5,
        logging__sample=True,
        cpu_cost__cpu_kill_grace_sec=30,
        redis__pool_size=10,
    )
    assert parse(body, {}).ignored == (
        "cpu_cost.cpu_kill_grace_sec",
        "io_workers",
        "latency",
        "logging.sample",
        "redis.pool_size",
        "template_port",
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bucket": "x"}, "bucket: not a key of the configuration"),
        ({"storage__s3__buckett": "x"}, "storage.s3.buckett: not a key of the configuration"),
        ({"storage": None}, "storage: Field required"),
        (
            {"storage__s3__endpoint": "http://no host"},
            "storage.s3.endpoint: allowed is a URL such as https://s3.example.com:9000, or its host",
        ),
        ({"storage__s3__bucket": ""}, "storage.s3.bucket: "),
        ({"storage__gcp": {"bucket": "x"}}, "storage.gcp: not supported by the recorder"),
        ({"storage__generate_presigned_url": True}, "storage.generate_presigned_url: not supported"),
        ({"storage__s3__assume_role_arn": "arn"}, "storage.s3.assume_role_arn: not supported"),
        ({"s3_assume_role_key": "x"}, "s3_assume_role_key: not supported by the recorder"),
        ({"redis__cluster_addresses": ["a:1"]}, "redis.cluster_addresses: not supported"),
        ({"redis__tls": {"enabled": True, "server_name": "x"}}, "redis.tls.server_name: not supported"),
        ({"redis__address": None}, "redis: needs exactly one of address and sentinel_addresses"),
        (
            {"redis__sentinel_addresses": ["a:1"]},
            "redis: needs exactly one of address and sentinel_addresses",
        ),
        (
            {"redis__address": None, "redis__sentinel_addresses": ["a:1"]},
            "redis: needs sentinel_master_name with sentinel_addresses",
        ),
        ({"redis__address": "redis"}, "redis.address: allowed is host:port or [IPv6]:port (given: 'redis')"),
        ({"redis__db": -1}, "redis.db: Input should be greater than or equal to 0 (given: -1)"),
        ({"ws_url": "http://x"}, "ws_url: "),
        ({"disallow_local_storage": False}, "disallow_local_storage: Input should be True (given: False)"),
        ({"logging__json": False}, "logging.json: Input should be True (given: False)"),
        ({"logging__level": "trace"}, "logging.level: Input should be 'debug', 'info', 'warn' or 'error'"),
        ({"io_create_timeout": "15"}, "io_create_timeout: allowed is a duration such as 500ms"),
        ({"recorder__spool": "here"}, "recorder.spool: allowed is an absolute path (given: 'here')"),
        ({"cpu_cost__max_cpu_utilization": 1.5}, "cpu_cost.max_cpu_utilization: Input should be less"),
        ({"cpu_cost__memory_source": "guess"}, "cpu_cost.memory_source: "),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(changed(**changes), {})
    assert str(refused.value).startswith(text)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "s3.example.com",
        "store:9000",
        "http://127.0.0.1:7070",
        "http://object-store.livekit.svc:7070",
        "http://[::1]:9000",
        "https://s3.example.com/",
    ],
)
def test_addresses_of_stores_are_urls_or_hosts(endpoint: str) -> None:
    """Exactly those that the S3 client takes."""
    settings = parse(changed(storage__s3__endpoint=endpoint), {})
    assert Bucket(settings.storage.target).target.endpoint == endpoint


def test_all_mistakes_are_named_at_once() -> None:
    body = changed(bucket="x", redis__db=-1, storage__azure={"account_name": "x"})
    with pytest.raises(SettingsError) as refused:
        parse(body, {})
    assert len(str(refused.value).splitlines()) == 3


def test_keys_that_are_not_supported_may_be_empty() -> None:
    body = changed(storage__generate_presigned_url=False, redis__cluster_addresses=[], s3_assume_role_key="")
    assert parse(body, {}) == parse(MINIMAL, {})


@pytest.mark.parametrize(
    "body",
    [
        changed(redis={"password": PASSWORD}),
        changed(redis__password=[PASSWORD]),
        changed(api_secret=[PASSWORD]),
        changed(redis=f"redis://:{PASSWORD}@host"),
        changed(redis__address=f"redis://:{PASSWORD}@host:6379"),
        changed(storage__s3__secret={"x": PASSWORD}),
        changed(storage__s3__session_token=[PASSWORD]),
        changed(s3_assume_role_secret=PASSWORD),
        f"api_secret: {PASSWORD}\n  x: {PASSWORD}",
        f"api_secret: '{PASSWORD}",
        f"api_secret: \x00{PASSWORD}",
        f"- {PASSWORD}",
    ],
)
def test_no_mistake_shows_a_secret(body: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(body, {})
    assert PASSWORD not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_password_of_digits_is_not_shown() -> None:
    """YAML reads it as a number, which is refused."""
    with pytest.raises(SettingsError, match=r"^redis\.password: Input should be a valid string$"):
        parse(changed(redis__password=1234567890), {})


def test_a_mistake_of_yaml_is_found_by_its_line() -> None:
    with pytest.raises(SettingsError, match=r"^not YAML: line 2: mapping values are not allowed here$"):
        parse("api_key: a\nb: c: d", {})
    with pytest.raises(SettingsError, match="the file holds NoneType, allowed is a mapping"):
        parse("", {})


def test_settings_do_not_show_their_secrets() -> None:
    settings: Settings = parse(changed(redis__password=PASSWORD, api_secret=PASSWORD), {})
    assert PASSWORD not in repr(settings)
    assert "bucket-secret" not in repr(settings.storage.target)
