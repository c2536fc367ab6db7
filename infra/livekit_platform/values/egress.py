"""What the egress workers are given: their configuration file, and the values of charts/egress.

livekit/egress and the recorder read the same file. Its keys are livekit/egress' own (v1.14, pkg/config/:
base.go, service.go and storage.go); the section `recorder` is for the recorder only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from livekit_platform import names
from livekit_platform.config import BackupStore, Egress, PlatformConfig
from livekit_platform.config.section import bytes_of
from livekit_platform.egress_capacity import (
    LIVEKIT_CPU_COSTS,
    MEMORY_SHARE,
    SPOOL_SHARE,
    bytes_per_recording,
    finish_seconds,
)
from livekit_platform.fingerprint import fingerprint, secrets_fingerprint
from livekit_platform.values import object_store, redis_client

CONFIG_FILE = "config.yaml"
# Where charts/egress mounts the recorder's volume.
SPOOL = "/var/spool/recorder"
# The worker's account at the platform's own store.
_STORE_ACCOUNT = "egress"
_BACKUP_SECRET = "egress_backup_secret_key"  # noqa: S105 - the name of a field
# RTMP and RTMPS, and web pages.
_STREAM_PORTS = (1935, 443)
# A provider gives out identities over https.
_IDENTITY_PORT = 443


def config_file(config: PlatformConfig) -> dict[str, Any]:
    """The workers' configuration without its secrets.

    There is no `cluster_id`: LiveKit sends its requests to the workers of the cluster "" (livekit-server
    v1.13.5, pkg/service/egress.go), and a worker with another one gets none.
    """
    egress = config.egress
    livekit = names.service_host(names.LIVEKIT, config.namespace)
    return {
        "redis": redis_client.connection(config),
        "api_key": config.livekit.api_key,
        # Inside the cluster: past the edge, and without its certificate, which a worker may not trust.
        "ws_url": f"ws://{livekit}:{config.ports.signal}",
        "logging": {"level": egress.log_level, "json": True},
        "health_port": config.ports.egress_health,
        "prometheus_port": config.ports.egress_metrics,
        "disallow_local_storage": True,
        "session_limits": _session_limits(egress),
        "storage": {"s3": _object_store(config)},
        **({"backup": {"s3": _backup(egress, egress.backup)}} if egress.backup is not None else {}),
        "cpu_cost": _costs(egress),
        **(_livekit_only(config) if egress.kind == "livekit" else {"recorder": _recorder_only(egress)}),
    }


def _livekit_only(config: PlatformConfig) -> dict[str, Any]:
    return {
        "template_port": config.ports.egress_template,
        # Chrome may open ws://.
        "insecure": True,
        # Chrome's own sandbox makes user namespaces, which the container's seccomp profile refuses.
        "enable_chrome_sandbox": False,
    }


def _recorder_only(egress: Egress) -> dict[str, Any]:
    grace = egress.termination_grace_seconds
    return {
        "spool": SPOOL,
        "spool_max_bytes": int(bytes_of(egress.spool.size) * SPOOL_SHARE),
        "shutdown_grace": f"{grace - finish_seconds(grace)}s",
    }


def _session_limits(egress: Egress) -> dict[str, Any]:
    limits = egress.session_limits
    return {
        "file_output_max_duration": f"{limits.file_output_max_seconds}s",
        "file_output_max_size": file_output_max_bytes(egress),
        "stream_output_max_duration": f"{limits.stream_output_max_seconds}s",
        "segment_output_max_duration": f"{limits.segment_output_max_seconds}s",
        "image_output_max_duration": f"{limits.image_output_max_seconds}s",
    }


def file_output_max_bytes(egress: Egress) -> int:
    """The size at which a recording to a file is ended; 0: none."""
    if egress.session_limits.file_output_max_mib:
        return egress.session_limits.file_output_max_mib * 2**20
    if egress.kind != "livekit":
        return 0
    # Otherwise the pod is evicted when the storage is full.
    return bytes_per_recording(bytes_of(egress.temporary_storage), egress.recordings_at_once)


def _object_store(config: PlatformConfig) -> dict[str, Any]:
    store, external = config.object_store, config.object_store.external
    if external is not None:
        return _s3(config.egress, external.endpoint, store.bucket, store.region, external.path_style)
    endpoint = (
        f"http://{names.service_host(names.OBJECT_STORE, config.namespace)}:{config.ports.object_store}"
    )
    own = _s3(config.egress, endpoint, store.bucket, store.region, path_style=True)
    return {**own, "access_key": _STORE_ACCOUNT}


def _backup(egress: Egress, backup: BackupStore) -> dict[str, Any]:
    s3 = _s3(egress, backup.endpoint, backup.bucket, backup.region, backup.path_style)
    return {**s3, **({"access_key": backup.access_key} if backup.access_key is not None else {})}


def _s3(egress: Egress, endpoint: str, bucket: str, region: str, path_style: bool) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "bucket": bucket,
        "region": region,
        "force_path_style": path_style,
        "max_retries": egress.uploads.max_retries,
        "min_retry_delay": f"{egress.uploads.min_retry_delay_ms}ms",
        "max_retry_delay": f"{egress.uploads.max_retry_delay_ms}ms",
    }


def _costs(egress: Egress) -> dict[str, Any]:
    # The recorder's own defaults are measured and stand with its code.
    costs = {**(LIVEKIT_CPU_COSTS if egress.kind == "livekit" else {}), **egress.cpu_cost.given()}
    gibibytes = bytes_of(egress.worker_resources.memory_limit) * MEMORY_SHARE / 2**30
    return {
        **{f"{request}_cpu_cost": cost for request, cost in costs.items()},
        "max_cpu_utilization": egress.cpu_cost.max_utilization,
        "max_memory": math.floor(gibibytes * 100) / 100,
        # What the kubelet and the kernel judge by. The sum over processes counts shared memory many times.
        "memory_source": "cgroup",
    }


def with_secrets(file: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """`file` completed with its secrets: only for the Secret object.

    Args:
        secrets: by field name of `Secrets`; at least those of `secret_fields`.
    """
    storage_secrets = {"storage": object_store.ACCOUNTS[_STORE_ACCOUNT], "backup": _BACKUP_SECRET}
    stores = {
        section: {"s3": {**file[section]["s3"], "secret": secrets[field]}}
        for section, field in storage_secrets.items()
        if section in file and "access_key" in file[section]["s3"]
    }
    return {
        **file,
        **stores,
        "api_secret": secrets["livekit_api_secret"],
        "redis": redis_client.with_password(file["redis"], secrets["redis_password"]),
    }


def secret_fields(config: PlatformConfig) -> tuple[str, ...]:
    """The secrets that the configuration file holds."""
    backup = config.egress.backup
    return (
        "livekit_api_secret",
        "redis_password",
        *([object_store.ACCOUNTS[_STORE_ACCOUNT]] if config.object_store.kind == "embedded" else []),
        *([_BACKUP_SECRET] if backup is not None and backup.access_key is not None else []),
    )


def identity(config: PlatformConfig) -> Mapping[str, str]:
    """The annotations of the workers' ServiceAccount: by them the cluster's provider gives an identity."""
    external = config.object_store.external
    inherited = external.service_account_annotations if external is not None else {}
    return config.egress.service_account_annotations or inherited


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/egress: no secret, and nothing unknown at preview."""
    egress, scaling = config.egress, config.egress.autoscaling
    grace = egress.termination_grace_seconds
    return {
        "kind": egress.kind,
        "image": config.images.complete(_image(config)),
        "imagePullSecrets": list(config.images.pull_secrets),
        "replicas": egress.worker_replicas,
        "autoscaling": {
            "kind": scaling.kind,
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "headroom": scaling.headroom,
            "prometheusUrl": scaling.prometheus_url or "",
            "metric": scaling.metric,
        },
        "configSecret": {"name": names.EGRESS_CONFIG_SECRET, "key": CONFIG_FILE},
        "configChecksum": fingerprint(
            [config_file(config), secrets_fingerprint(config.secrets, *secret_fields(config))]
        ),
        "storeKeySecret": _store_key_secret(config),
        "serviceAccountAnnotations": dict(identity(config)),
        "ports": {"health": config.ports.egress_health, "metrics": config.ports.egress_metrics},
        "temporaryStorage": egress.temporary_storage,
        "spool": {"size": egress.spool.size, "storageClassName": egress.spool.storage_class},
        "terminationGraceSeconds": grace,
        "finishSeconds": finish_seconds(grace),
        # Not that of media: a worker without room must not push out what calls need.
        "priorityClassName": names.priority_class(config.namespace, names.API),
        "avoidPodLabels": {"app.kubernetes.io/name": names.LIVEKIT},
        "resources": egress.worker_resources.to_values(),
        "cores": f"{egress.cores:g}",
        "networkPolicy": _network_policy(config),
    }


def _image(config: PlatformConfig) -> str:
    image = config.images.egress if config.egress.kind == "livekit" else config.images.recorder
    if image is None:
        raise ValueError("images.recorder: given nothing, allowed is an image")
    return image


def _store_key_secret(config: PlatformConfig) -> str:
    """The owner's Secret with the key of an external store, where the workers use it."""
    external = config.object_store.external
    if external is None or config.egress.service_account_annotations:
        return ""
    return external.secret_name or ""


def _network_policy(config: PlatformConfig) -> dict[str, Any]:
    ports = config.ports
    return {
        # Probes and Prometheus on the nodes' network; Prometheus in pods is let in by the chart.
        "clientCidrs": config.sfu_source_cidrs,
        "livekit": {
            "cidrs": config.sfu_cidrs,
            "signalPort": ports.signal,
            "mediaCidrs": config.sfu_media_cidrs,
            "mediaUdpPort": ports.media_udp,
            "iceTcpPort": ports.ice_tcp,
        },
        "redis": _redis_peers(config),
        "stores": _stores(config),
        "publicPorts": _public_ports(config),
        "ownCidrs": config.own_cidrs,
        "dnsCidrs": [*map(str, config.network.dns_cidrs)],
    }


def _redis_peers(config: PlatformConfig) -> dict[str, Any]:
    external = config.redis.external
    if external is not None:
        return {"podLabels": {}, "cidrs": [*map(str, external.cidrs)], "ports": list(external.ports)}
    sentinel = [config.ports.redis_sentinel] if config.redis.kind == "sentinel" else []
    return {
        "podLabels": {"app.kubernetes.io/name": names.REDIS},
        "cidrs": [],
        "ports": [config.ports.redis, *sentinel],
    }


def _stores(config: PlatformConfig) -> list[dict[str, Any]]:
    """The stores that are not at public addresses."""
    external, backup = config.object_store.external, config.egress.backup
    own = {
        "podLabels": {"app.kubernetes.io/name": names.OBJECT_STORE},
        "cidrs": [],
        "port": config.ports.object_store,
    }
    given = [store for store in (external, backup) if store is not None and store.cidrs]
    return [
        *([own] if external is None else []),
        *({"podLabels": {}, "cidrs": [*map(str, store.cidrs)], "port": store.port} for store in given),
    ]


def _public_ports(config: PlatformConfig) -> Sequence[int]:
    external, backup = config.object_store.external, config.egress.backup
    public = [store.port for store in (external, backup) if store is not None and not store.cidrs]
    return sorted(
        {
            *public,
            *([_IDENTITY_PORT] if identity(config) else []),
            *(_STREAM_PORTS if config.egress.stream_outputs else []),
        }
    )
