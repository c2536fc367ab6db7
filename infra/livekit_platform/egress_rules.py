"""Rules over the egress workers. `config_rules` says which sections each reads."""

from __future__ import annotations

from collections.abc import Iterator

from livekit_platform.config import Egress, Images, ObjectStore, Redis, Secrets
from livekit_platform.config.section import bytes_of, cores_of
from livekit_platform.egress_capacity import (
    LIVEKIT_LEAST_MEMORY_BYTES,
    RECORDER_SPOOL_BYTES,
    recording_bytes,
    spool_for,
    storage_for,
)
from livekit_platform.mistakes import Mistake, goes_with, narrow, only_with

_RESOURCES = "egress.resources"
# Its part of the replicas: kube-controller-manager's --horizontal-pod-autoscaler-tolerance, by default.
_AUTOSCALER_IGNORES = 10


def recorder_has_an_image(egress: Egress, images: Images) -> Iterator[Mistake]:
    if egress.kind == "recorder" and images.recorder is None:
        yield Mistake(
            "images.recorder",
            "nothing",
            "an image, with `egress.kind` `recorder`: `make images-push` publishes it and says its name",
        )


def worker_accepts_requests(egress: Egress) -> Iterator[Mistake]:
    """A worker that is too small runs, is ready, and accepts no request."""
    if egress.kind == "none":
        return
    key, cost = max(egress.costs.items(), key=lambda item: item[1])
    resources = egress.worker_resources
    # Both give all cores to an idle worker's first recording. The recorder's costs are means, which leave no
    # room for peaks.
    usable = 1.0 if egress.kind == "livekit" else egress.cpu_cost.max_utilization
    if egress.cores * usable < cost:
        cores = egress.cpu_cost.cores
        yield Mistake(
            "egress.cpu_cost.cores" if cores is not None else f"{_RESOURCES}.cpu_request",
            f"{cores:g}" if cores is not None else f'"{resources.cpu_request}"',
            f"at least {cost / usable:g}: a worker with less runs, and refuses what costs {cost:g} "
            f"(`egress.cpu_cost.{key}`)",
        )
    if egress.kind == "livekit" and bytes_of(resources.memory_limit) < LIVEKIT_LEAST_MEMORY_BYTES:
        yield Mistake(
            f"{_RESOURCES}.memory_limit",
            f'"{resources.memory_limit}"',
            "at least 2Gi with `egress.kind` `livekit`: it accepts no request with less than 1 GiB left",
        )


def recordings_fit(egress: Egress) -> Iterator[Mistake]:
    """A worker's disk is enough for all recordings that it accepts at once."""
    if egress.kind == "livekit":
        yield from _recordings_fit_on_temporary_storage(egress)
    elif egress.kind == "recorder":
        yield from _recordings_fit_in_the_spool(egress)


def _recordings_fit_in_the_spool(egress: Egress) -> Iterator[Mistake]:
    """The recorder ends its largest recording when its spool is nearly full. With less, that is at once."""
    at_once = egress.recordings_at_once
    needed = spool_for(at_once)
    if bytes_of(egress.spool.size) < needed:
        yield Mistake(
            "egress.spool.size",
            f'"{egress.spool.size}"',
            f"at least {-(-needed // 2**20)}Mi: a worker with {egress.cores:g} cores records {at_once} at "
            f"once, and each recording needs {RECORDER_SPOOL_BYTES // 2**20} MiB",
        )


def _recordings_fit_on_temporary_storage(egress: Egress) -> Iterator[Mistake]:
    """livekit/egress uploads a recording when it has ended; until then it is on the temporary storage."""
    limits, at_once = egress.session_limits, egress.recordings_at_once
    longest = recording_bytes(egress.expected_kbps, limits.file_output_max_seconds)
    largest = limits.file_output_max_mib * 2**20
    needed = storage_for(min(longest, largest) if largest else longest, at_once)
    if bytes_of(egress.temporary_storage) < needed:
        yield Mistake(
            "egress.temporary_storage",
            f'"{egress.temporary_storage}"',
            f"at least {-(-needed // 2**20)}Mi: a worker with {egress.cores:g} cores records {at_once} at "
            f"once, of {limits.file_output_max_seconds} s (`session_limits.file_output_max_seconds`) with "
            f"{egress.expected_kbps} kbit/s (`expected_kbps`) each",
        )


def retries_grow(egress: Egress) -> Iterator[Mistake]:
    uploads = egress.uploads
    if uploads.max_retry_delay_ms < uploads.min_retry_delay_ms:
        yield Mistake(
            "egress.uploads.max_retry_delay_ms",
            str(uploads.max_retry_delay_ms),
            f"at least `min_retry_delay_ms`, {uploads.min_retry_delay_ms}",
        )


def autoscaling_is_complete(egress: Egress) -> Iterator[Mistake]:
    scaling = egress.autoscaling
    yield from goes_with(
        "egress.autoscaling.prometheus_url", scaling.prometheus_url, scaling.kind, "keda", "an address"
    )
    yield from only_with("egress.replicas", egress.replicas, scaling.kind, "none")
    if scaling.kind == "none":
        return
    least = max(scaling.min_replicas, scaling.headroom + 1)
    # Autoscalers ignore a difference of up to a tenth: with all workers busy, they would add none.
    if scaling.headroom * _AUTOSCALER_IGNORES < scaling.max_replicas:
        yield Mistake(
            "egress.autoscaling.headroom",
            str(scaling.headroom),
            f"at least a tenth of `max_replicas` ({scaling.max_replicas}): Kubernetes ignores smaller "
            "differences",
        )
    if scaling.max_replicas < least:
        yield Mistake(
            "egress.autoscaling.max_replicas",
            str(scaling.max_replicas),
            f"at least {least}: not below `min_replicas` ({scaling.min_replicas}), and above `headroom` "
            f"({scaling.headroom})",
        )


def backup_is_complete(egress: Egress, object_store: ObjectStore, secrets: Secrets) -> Iterator[Mistake]:
    backup, secret = egress.backup, secrets.egress_backup_secret_key
    access_key = backup.access_key if backup is not None else None
    if access_key is None and secret is not None:
        allowed = "nothing, unless `egress.backup.access_key` names its key"
        yield Mistake("secrets.egress_backup_secret_key", "a value", allowed)
    if access_key is not None and secret is None:
        yield Mistake(
            "secrets.egress_backup_secret_key",
            "nothing",
            "the secret of `egress.backup.access_key`; `pulumi config set --secret --path "
            "livekit-platform:secrets.egress_backup_secret_key` sets it",
        )
    without_key = backup is not None and access_key is None
    if without_key and object_store.external is None and not egress.service_account_annotations:
        yield Mistake(
            "egress.backup.access_key",
            "nothing",
            "the id of a key: the key of `object_store.kind` `embedded` is of no use at another store",
        )


def identity_is_used(egress: Egress, object_store: ObjectStore) -> Iterator[Mistake]:
    if egress.service_account_annotations and object_store.external is None and egress.backup is None:
        yield Mistake(
            "egress.service_account_annotations",
            "a value, with `object_store.kind` `embedded`",
            "nothing, unless a store is given that knows the identity",
        )


def egress_networks_are_narrow(egress: Egress, redis: Redis) -> Iterator[Mistake]:
    yield from narrow(
        {
            "egress.backup.cidrs": egress.backup.cidrs if egress.backup is not None else (),
            "redis.external.cidrs": redis.external.cidrs if redis.external is not None else (),
        }
    )


def production_keeps_recordings(egress: Egress) -> Iterator[Mistake]:
    if egress.kind != "none" and egress.replicas == 1:
        yield Mistake(
            "egress.replicas",
            "1",
            "at least 2 in production: with one, nothing new is recorded while its node is drained",
        )
    cores = egress.cpu_cost.cores
    if egress.kind != "none" and cores is not None:
        requested = cores_of(egress.worker_resources.cpu_request)
        if cores > requested:
            yield Mistake(
                "egress.cpu_cost.cores",
                f"{cores:g}",
                f"at most `egress.resources.cpu_request`, {requested:g}, in production: other pods may take "
                "the cores that a worker does not ask for",
            )
    if egress.backup is not None and not egress.backup.endpoint.startswith("https://"):
        yield Mistake(
            "egress.backup.endpoint",
            f'"{egress.backup.endpoint}"',
            "an https:// address in production: recordings and their keys cross the network",
        )
