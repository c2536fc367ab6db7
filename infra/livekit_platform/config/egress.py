"""The workers that record rooms."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import Field

from livekit_platform.config.object_store import (
    BUCKET,
    BUCKET_ALLOWED,
    ENDPOINT_ALLOWED,
    PATH_STYLE_ALLOWED,
    REGION,
    REGION_ALLOWED,
    Endpoint,
)
from livekit_platform.config.section import (
    CPU_ALLOWED,
    OPTIONAL_NAME,
    QUANTITY_ALLOWED,
    STORAGE_CLASS_ALLOWED,
    Annotations,
    Cpu,
    Quantity,
    Resources,
    Section,
    cores_of,
    port_of,
)
from livekit_platform.egress_capacity import (
    LIVEKIT_CPU_COSTS,
    RECORDER_CPU_COSTS,
    RECORDER_SPOOL_BYTES,
    recordings_at_once,
)

Kind = Literal["livekit", "recorder", "none"]
Cost = Annotated[float, Field(gt=0, le=64)]

_DEFAULT_REPLICAS = 2
# Pictures and sound of a recording whose request names no encoding (livekit/egress, pkg/config/pipeline.go).
_DEFAULT_KBPS = 3000 + 128
_LIVEKIT = Resources(cpu_request="4", memory_request="4Gi", memory_limit="8Gi")
_RECORDER = Resources(cpu_request="1", memory_request="512Mi", memory_limit="2Gi")


def _default(field: str) -> str:
    return (
        f"where left out, {getattr(_LIVEKIT, field)} (`livekit`) or {getattr(_RECORDER, field)} (`recorder`)"
    )


class WorkerResources(Section):
    """What a worker asks for and is held to; each kind has its own defaults."""

    cpu_request: Cpu | None = Field(
        default=None,
        description=f"{CPU_ALLOWED}; at least the largest of `cpu_cost`, for a worker accepts requests by "
        f"it, unless `cpu_cost.cores` is set; {_default('cpu_request')}",
        examples=["4"],
    )
    memory_request: Quantity | None = Field(
        default=None,
        description=f"{QUANTITY_ALLOWED}; not above `memory_limit`; {_default('memory_request')}",
        examples=["4Gi"],
    )
    memory_limit: Quantity | None = Field(
        default=None,
        description=f"{QUANTITY_ALLOWED}; at least 2Gi with kind `livekit`; {_default('memory_limit')}",
        examples=["8Gi"],
    )


def _cost(what: str, key: str) -> Any:
    own = RECORDER_CPU_COSTS.get(key)
    of_recorder = "; `recorder` refuses such requests" if own is None else f" or {own:g} (`recorder`)"
    return Field(
        default=None,
        description=f"processor cores above 0 for {what}; where left out, {LIVEKIT_CPU_COSTS[key]:g} "
        f"(`livekit`){of_recorder}",
        examples=[LIVEKIT_CPU_COSTS[key]],
    )


class CpuCost(Section):
    """The cores that a worker sets aside for a request when it decides whether to accept it."""

    room_composite: Cost | None = _cost("a whole room", "room_composite")
    audio_room_composite: Cost | None = _cost("a whole room without pictures", "audio_room_composite")
    web: Cost | None = _cost("a web page", "web")
    audio_web: Cost | None = _cost("the sound of a web page", "audio_web")
    participant: Cost | None = _cost("a participant", "participant")
    track_composite: Cost | None = _cost("two tracks", "track_composite")
    track: Cost | None = _cost("a track as it is", "track")
    cores: Cost | None = Field(
        default=None,
        description="processor cores above 0 that a worker counts as its own when it accepts requests; the "
        "recorder counts those of its node if they are fewer; where left out, `resources.cpu_request`. More "
        "than the request only where other pods leave cores free, as on a laptop; refused in production",
        examples=[2.0],
    )
    max_utilization: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="the part of a worker's cores, above 0 and up to 1, that several recordings may take",
    )

    def given(self) -> dict[str, float]:
        """The costs that are configured, by request."""
        costs = {name: getattr(self, name) for name in LIVEKIT_CPU_COSTS}
        return {name: cost for name, cost in costs.items() if cost is not None}


class Spool(Section):
    """The recorder's volume for recordings that are not in the bucket yet."""

    size: Quantity = Field(
        default="10Gi",
        description=f"{QUANTITY_ALLOWED}; at least {RECORDER_SPOOL_BYTES // 2**20} MiB for each recording "
        "that a worker makes at once, and a ninth more. A recording stays here as a whole until it has ended "
        "and is uploaded: an hour takes `expected_kbps` times 450000 bytes. When the spool is nearly full, "
        "the worker ends its largest recording, which fails with what was recorded until then",
    )
    storage_class: str = Field(
        default="", pattern=OPTIONAL_NAME, description=STORAGE_CLASS_ALLOWED, examples=["fast-ssd"]
    )


class SessionLimits(Section):
    """Limits of one egress. It ends when it reaches one, with the status EGRESS_LIMIT_REACHED."""

    file_output_max_seconds: int = Field(
        default=21600, ge=60, le=86400, description="seconds from 60 to 86400 of a recording to a file"
    )
    file_output_max_mib: int = Field(
        default=0,
        ge=0,
        le=1048576,
        description="MiB, up to 1048576, of a recording to a file; 0: what fits on `temporary_storage` "
        "(kind `livekit`), or no limit (`recorder`)",
    )
    stream_output_max_seconds: int = Field(
        default=43200, ge=60, le=604800, description="seconds from 60 to 604800 of an RTMP stream"
    )
    segment_output_max_seconds: int = Field(
        default=43200, ge=60, le=604800, description="seconds from 60 to 604800 of HLS segments"
    )
    image_output_max_seconds: int = Field(
        default=43200, ge=60, le=604800, description="seconds from 60 to 604800 of thumbnails"
    )


class Uploads(Section):
    """How often an upload is tried."""

    max_retries: int = Field(
        default=10, ge=1, le=100, description="attempts from 1 to 100 of each request to a store"
    )
    min_retry_delay_ms: int = Field(
        default=100, ge=10, le=60000, description="ms from 10 to 60000 before the second attempt"
    )
    max_retry_delay_ms: int = Field(
        default=20000,
        ge=100,
        le=300000,
        description="ms from 100 to 300000 between two attempts at most; not below `min_retry_delay_ms`",
    )


class BackupStore(Section):
    """A second S3 store, for files that the object store does not take. token-api does not look there."""

    endpoint: Endpoint = Field(description=ENDPOINT_ALLOWED, examples=["https://s3.us-east-1.example.com"])
    bucket: str = Field(pattern=BUCKET, description=BUCKET_ALLOWED, examples=["recordings-backup"])
    region: str = Field(default="us-east-1", pattern=REGION, description=REGION_ALLOWED)
    path_style: bool = Field(default=True, description=PATH_STYLE_ALLOWED)
    access_key: str | None = Field(
        default=None,
        pattern=r"^[!-~]{3,128}$",
        description="3 to 128 printable characters: the id of the key whose secret is "
        "`secrets.egress_backup_secret_key`; where left out, the worker uses the key or the identity that it "
        "has for `object_store.external`",
        examples=["recordings-backup"],
    )
    cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks in which the host of `endpoint` is, where its address is no "
        "public one",
        examples=[["10.61.0.0/24"]],
    )

    @property
    def port(self) -> int:
        """The port of `endpoint`."""
        return port_of(self.endpoint)


class Autoscaling(Section):
    """Workers by demand: as many as are busy, and some that are free."""

    kind: Literal["none", "keda", "hpa"] = Field(
        default="none",
        description="`none` (`replicas` of them), `keda` (a ScaledObject of KEDA 2.17 or later, which asks "
        "`prometheus_url`) or `hpa` (a HorizontalPodAutoscaler on the external metric `metric`)",
    )
    min_replicas: int = Field(default=2, ge=1, le=100, description="a number from 1 to 100")
    max_replicas: int = Field(
        default=10,
        ge=1,
        le=100,
        description="a number from 1 to 100, not below `min_replicas`, and above `headroom`",
    )
    headroom: int = Field(
        default=1,
        ge=1,
        le=50,
        description="a number from 1 to 50 of workers that are free to accept a recording; at least a tenth "
        "of `max_replicas`",
    )
    prometheus_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^@\s]+$",
        description="an http:// or https:// address of Prometheus, without user and password, for kind "
        "`keda`",
        examples=["http://prometheus.monitoring.svc:9090"],
    )
    metric: str = Field(
        default="livekit_egress_wanted_workers",
        pattern=r"^[a-z_][a-z0-9_]{0,127}$",
        description="1 to 128 of a-z, 0-9 and _: the external metric that the cluster's metrics adapter "
        "makes of the expression in the HorizontalPodAutoscaler's annotation, for kind `hpa`",
    )


class Egress(Section):
    """livekit/egress, or the recorder of this project; both serve LiveKit's Egress API."""

    kind: Kind = Field(
        default="none",
        description="`livekit` (livekit/egress; its image comes from a registry), `recorder` (ours, image "
        "`images.recorder`) or `none` (nothing records: token-api answers `recording-unavailable`)",
    )
    replicas: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description=f"a number from 1 to 100; where left out, {_DEFAULT_REPLICAS}, or as many as "
        "`autoscaling` wants",
        examples=[2],
    )
    resources: WorkerResources = Field(default=WorkerResources(), description="an object of quantities")
    cpu_cost: CpuCost = Field(default=CpuCost(), description="an object of numbers")
    temporary_storage: Quantity = Field(
        default="20Gi",
        description=f"{QUANTITY_ALLOWED}: where a worker of kind `livekit` keeps its recordings until they "
        "end; enough for all that it accepts",
    )
    expected_kbps: int = Field(
        default=_DEFAULT_KBPS,
        ge=16,
        le=100000,
        description="kbit/s from 16 to 100000 of a recording, pictures and sound, by which "
        f"`temporary_storage` is judged; {_DEFAULT_KBPS} is LiveKit's default, 720p30",
    )
    spool: Spool = Field(default=Spool(), description="an object, for kind `recorder`")
    session_limits: SessionLimits = Field(default=SessionLimits(), description="an object of numbers")
    uploads: Uploads = Field(default=Uploads(), description="an object of numbers")
    backup: BackupStore | None = Field(default=None, description="an object")
    service_account_annotations: Annotations = Field(
        default={},
        description="annotations of the workers' ServiceAccount, by which the cluster's provider gives them "
        "an identity of their own at the store, as an object of texts; those of `object_store.external` "
        "where left out",
        examples=[{"example.com/role": "livekit-recordings-writer"}],
    )
    stream_outputs: bool = Field(
        default=False,
        description="true (workers reach RTMP servers and web pages at public addresses, ports 1935 and "
        "443) or false (they reach nothing outside but the stores)",
    )
    autoscaling: Autoscaling = Field(default=Autoscaling(), description="an object")
    # An hour of a meeting may go on; whatever is longer is ended in order, and uploaded.
    termination_grace_seconds: int = Field(
        default=3600,
        ge=60,
        le=18000,
        description="seconds from 60 to 18000 that a stopping worker has for its recordings; before their "
        "end it ends the recordings and uploads them. Cluster autoscalers cut it at their own limit, "
        "commonly 600",
    )
    log_level: Literal["debug", "info", "warn", "error"] = Field(
        default="info", description="one of debug, info, warn, error"
    )

    @property
    def worker_replicas(self) -> int:
        """How many workers there are without autoscaling."""
        return self.replicas or _DEFAULT_REPLICAS

    @property
    def worker_resources(self) -> Resources:
        """What a worker of this kind asks for and is held to."""
        defaults = _LIVEKIT if self.kind == "livekit" else _RECORDER
        given = {name: value for name, value in self.resources if value is not None}
        return defaults.model_copy(update=given)

    @property
    def cores(self) -> float:
        """The processor cores that a worker counts as its own."""
        return self.cpu_cost.cores or cores_of(self.worker_resources.cpu_request)

    @property
    def costs(self) -> Mapping[str, float]:
        """The cores that a worker of this kind sets aside, by request."""
        defaults = LIVEKIT_CPU_COSTS if self.kind == "livekit" else RECORDER_CPU_COSTS
        return {**defaults, **self.cpu_cost.given()}

    @property
    def recordings_at_once(self) -> int:
        """How many rooms one worker records at the same time."""
        return recordings_at_once(self.cores, self.cpu_cost.max_utilization, self.costs["room_composite"])
