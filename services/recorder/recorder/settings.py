"""The worker's configuration file: livekit/egress' own keys, and the section `recorder`.

One file serves livekit/egress and this worker, so a cluster can change from one to the other. Unknown keys
are refused, and so are keys that this worker cannot honour (`livekit_keys`).
Facts: livekit/egress v1.14, `pkg/config/{base,service,storage}.go`; livekit/protocol, `redis/redis.go`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from recorder.durations import seconds_of
from recorder.livekit_keys import take_not_supported, take_without_meaning
from recorder.storage.target import S3Target

_ADDRESS = re.compile(r"([^\s:@\[\]/]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_SECRET_WORDS = ("secret", "password", "token")


class SettingsError(Exception):
    """The configuration is not valid. The text lists every mistake with its key, and shows no secret."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("allowed is an absolute path")
    return path


def _address(given: str) -> str:
    if given and not _ADDRESS.fullmatch(given):
        raise ValueError("allowed is host:port or [IPv6]:port")
    return given


def _endpoint(given: str) -> str:
    url = given if "://" in given else f"https://{given}"
    if given and not (is_valid_endpoint_url(url) or is_valid_ipv6_endpoint_url(url)):
        raise ValueError("allowed is a URL such as https://s3.example.com:9000, or its host")
    return given


Seconds = Annotated[float, BeforeValidator(seconds_of)]
Address = Annotated[str, AfterValidator(_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RedisTls(_Section):
    """TLS of the connection to Redis. Files are in PEM format; without a CA, the system's are trusted."""

    enabled: bool = False
    insecure: bool = False
    ca_cert_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""


class RedisSettings(_Section):
    """The Redis of LiveKit: one server, or a master that Sentinels know. Timeouts in milliseconds."""

    address: Address = ""
    username: str = ""
    password: SecretStr = SecretStr("")
    db: int = Field(default=0, ge=0)
    use_tls: bool = False
    tls: RedisTls = RedisTls()
    sentinel_master_name: str = ""
    sentinel_username: str = ""
    sentinel_password: SecretStr = SecretStr("")
    sentinel_addresses: tuple[Address, ...] = ()
    dial_timeout: int = Field(default=2000, ge=1)
    read_timeout: int = Field(default=5000, ge=1)
    write_timeout: int = Field(default=5000, ge=1)

    @model_validator(mode="after")
    def _reachable(self) -> RedisSettings:
        if bool(self.address) == bool(self.sentinel_addresses):
            raise ValueError("needs exactly one of address and sentinel_addresses")
        if self.sentinel_addresses and not self.sentinel_master_name:
            raise ValueError("needs sentinel_master_name with sentinel_addresses")
        return self


class S3Settings(_Section):
    """A bucket, with livekit/storage's keys. Without access_key the AWS credential chain is used."""

    access_key: str = ""
    secret: SecretStr = SecretStr("")
    session_token: SecretStr = SecretStr("")
    region: str = ""
    endpoint: Annotated[str, AfterValidator(_endpoint)] = ""
    bucket: str = Field(min_length=1)
    force_path_style: bool = False
    max_retries: int = Field(default=5, ge=0, le=100)
    min_retry_delay: Seconds = 0.1
    max_retry_delay: Seconds = 5.0
    metadata: Mapping[str, str] = Field(default_factory=dict)
    tagging: str = ""
    content_disposition: str = ""


class StorageSettings(_Section):
    """Where recordings go. `prefix` is put in front of each key."""

    prefix: str = ""
    s3: S3Settings

    @property
    def target(self) -> S3Target:
        """The bucket, as the uploads know it."""
        s3 = self.s3
        return S3Target(
            bucket=s3.bucket,
            region=s3.region,
            endpoint=s3.endpoint,
            access_key=s3.access_key,
            secret=s3.secret.get_secret_value(),
            session_token=s3.session_token.get_secret_value(),
            force_path_style=s3.force_path_style,
            max_retries=s3.max_retries,
            min_retry_delay=s3.min_retry_delay,
            max_retry_delay=s3.max_retry_delay,
            metadata=dict(s3.metadata),
            tagging=s3.tagging,
            content_disposition=s3.content_disposition,
            prefix=self.prefix,
        )


class SessionLimits(_Section):
    """Limits of one egress; 0 is none. Durations in seconds, sizes in bytes."""

    file_output_max_duration: Seconds = 0.0
    file_output_max_size: int = Field(default=0, ge=0)
    stream_output_max_duration: Seconds = 0.0
    segment_output_max_duration: Seconds = 0.0
    image_output_max_duration: Seconds = 0.0


class CpuCost(_Section):
    """What an egress takes, in cores and GiB; the defaults were measured with this worker (README).

    livekit/egress' costs are several times higher: it runs a browser for each composite. `web_cpu_cost` and
    `audio_web_cpu_cost` are those of requests that this worker refuses. `memory_source` says what counts
    against `max_memory`: the sum over the worker's processes, or what its container has. Above `max_memory`
    for more than `memory_kill_grace_sec` seconds, the worker ends its largest recording.
    """

    max_cpu_utilization: float = Field(default=0.8, gt=0, le=1)
    max_memory: float = Field(default=0.0, ge=0)
    memory_source: Literal["", "proc_rss", "cgroup"] = ""
    memory_kill_grace_sec: int = Field(default=0, ge=0)
    memory_cost: float = Field(default=0.35, ge=0)
    room_composite_cpu_cost: float = Field(default=0.8, gt=0)
    audio_room_composite_cpu_cost: float = Field(default=0.2, gt=0)
    sdk_audio_room_composite_cpu_cost: float | None = Field(default=None, gt=0)
    sdk_audio_room_composite_memory_cost: float = Field(default=0.2, ge=0)
    web_cpu_cost: float = Field(default=4, gt=0)
    audio_web_cpu_cost: float = Field(default=1, gt=0)
    participant_cpu_cost: float = Field(default=0.6, gt=0)
    track_composite_cpu_cost: float = Field(default=0.6, gt=0)
    track_cpu_cost: float = Field(default=0.5, gt=0)

    @property
    def sdk_audio_cpus(self) -> float:
        """The cores of a room without pictures and layout; by default those of one without pictures."""
        return self.sdk_audio_room_composite_cpu_cost or self.audio_room_composite_cpu_cost


class Logging(_Section):
    """What is logged: JSON lines on standard error."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    json_: Literal[True] = Field(default=True, alias="json")


class RecorderSettings(_Section):
    """Keys that livekit/egress does not have.

    Attributes:
        spool: the directory of recordings that are not in the bucket yet, on a persistent volume.
        spool_max_bytes: how much of the volume recordings may take; 0 is all of it. Before they take more,
            the worker ends the largest one.
        shutdown_grace: seconds that recordings may go on after SIGTERM before they are ended.
        start_timeout: seconds that an egress waits for something to record.
        rejoin_timeout: seconds that an egress tries to get back into a room it lost.
        allow_request_storage: whether a request may name another bucket and its credentials. The worker then
            connects to whatever endpoint a request names.
    """

    spool: Annotated[Path, AfterValidator(_absolute)] = Path("/var/spool/recorder")
    spool_max_bytes: int = Field(default=0, ge=0)
    shutdown_grace: Seconds = 20.0
    start_timeout: Seconds = 30.0
    rejoin_timeout: Seconds = 120.0
    allow_request_storage: bool = False


class Settings(_Section):
    """The whole configuration. `ignored` are keys of the file without a meaning for this worker."""

    redis: RedisSettings
    api_key: str = Field(min_length=1)
    api_secret: SecretStr = Field(min_length=1)
    ws_url: str = Field(pattern=r"^wss?://")
    logging: Logging = Logging()
    cluster_id: str = ""
    health_port: int = Field(default=0, ge=0, le=65535)
    prometheus_port: int = Field(default=0, ge=0, le=65535)
    disallow_local_storage: Literal[True] = True
    io_create_timeout: Seconds = 15.0
    session_limits: SessionLimits = SessionLimits()
    storage: StorageSettings
    backup: StorageSettings | None = None
    cpu_cost: CpuCost = CpuCost()
    recorder: RecorderSettings = RecorderSettings()
    ignored: tuple[str, ...] = Field(default=(), exclude=True)


def load(environment: Mapping[str, str]) -> Settings:
    """Read the file that EGRESS_CONFIG_FILE names, or the text in EGRESS_CONFIG_BODY.

    LIVEKIT_API_KEY, LIVEKIT_API_SECRET and LIVEKIT_WS_URL stand in for missing keys.

    Raises:
        SettingsError: no configuration, or mistakes in it.
    """
    body = environment.get("EGRESS_CONFIG_BODY")
    if not body:
        name = environment.get("EGRESS_CONFIG_FILE")
        if not name:
            raise SettingsError("EGRESS_CONFIG_FILE and EGRESS_CONFIG_BODY are empty: no configuration")
        try:
            body = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise SettingsError(f"EGRESS_CONFIG_FILE: {error}") from error
    return parse(body, environment)


def parse(body: str, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in a YAML text. Raises SettingsError."""
    try:
        given = yaml.safe_load(body)
    except yaml.MarkedYAMLError as error:
        # Its own text quotes the line, which may hold a secret.
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        raise SettingsError(f"not YAML: line {line}: {error.problem}") from None
    except yaml.YAMLError:
        raise SettingsError("not YAML: characters that YAML does not allow") from None
    if not isinstance(given, dict):
        raise SettingsError(f"the file holds {type(given).__name__}, allowed is a mapping")
    for key in ("api_key", "api_secret", "ws_url"):
        if not given.get(key) and environment.get(f"LIVEKIT_{key.upper()}"):
            given[key] = environment[f"LIVEKIT_{key.upper()}"]
    ignored = take_without_meaning(given)
    mistakes = [f"{name}: not supported by the recorder" for name in take_not_supported(given)]
    try:
        settings = Settings.model_validate({**given, "ignored": ignored})
    except ValidationError as error:
        mistakes += [_described(found) for found in error.errors()]
    if mistakes:
        raise SettingsError("\n".join(mistakes)) from None
    return settings


def _described(found: Any) -> str:
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return f"{place}: not a key of the configuration"
    text = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "missing" or _may_be_secret(place, found["input"]):
        return f"{place}: {text}"
    return f"{place}: {text} (given: {found['input']!r:.200})"


def _may_be_secret(place: str, given: object) -> bool:
    """Whether what was given must not be shown: a section, a secret, or an address with a password."""
    if any(word in place for word in _SECRET_WORDS):
        return True
    return not isinstance(given, str | int | float) or "@" in str(given)
