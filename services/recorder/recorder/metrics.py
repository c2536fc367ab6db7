"""Metrics under livekit/egress' names, so that one dashboard serves both workers.

Facts: livekit/egress v1.14, `pkg/stats/{monitor_prom,handler}.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_NODE = ("node_id", "cluster_id")
_UPLOAD = (*_NODE, "type", "status", "custom_endpoint")
_MILLISECONDS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000)


@dataclass(frozen=True)
class State:
    """What gauges show, read at each scrape. Memory and spool are in bytes.

    `cpu_load` is the used part of the worker's cores; above 1 where it uses more than it counts as its own.
    """

    is_idle: Callable[[], bool]
    can_accept: Callable[[], bool]
    is_disabled: Callable[[], bool]
    is_terminating: Callable[[], bool]
    cpu_load: Callable[[], float]
    memory: Callable[[], float]
    spool_used: Callable[[], float]
    spool_free: Callable[[], float]


class Metrics:
    """The worker's metrics.

    `livekit_egress_can_accept_request` says whether a room composite is taken. livekit/egress asks that for a
    web egress, which this worker cannot make.

    Args:
        custom_endpoint: whether uploads go to a store other than AWS' own.
    """

    def __init__(self, node_id: str, cluster_id: str, state: State, *, custom_endpoint: bool) -> None:
        self.registry = CollectorRegistry()
        self._labels = {"node_id": node_id, "cluster_id": cluster_id}
        self._custom_endpoint = str(custom_endpoint).lower()
        self._show(state)
        self._requests = Gauge(
            "livekit_egress_requests", "egresses that run", (*_NODE, "type"), registry=self.registry
        )
        self._results = Counter(
            "livekit_egress_handler_results",
            "handlers that ended, by result",
            (*_NODE, "type", "result"),
            registry=self.registry,
        )
        # Both are counters. livekit/egress' names do not end with _total, which the library adds to counters.
        self._uploads = Gauge(
            "livekit_egress_pipeline_uploads",
            "uploads by content type and result",
            _UPLOAD,
            registry=self.registry,
        )
        self._backup = Gauge(
            "livekit_egress_backup_storage_writes",
            "objects written to the backup store",
            (*_NODE, "output_type"),
            registry=self.registry,
        )
        # "pipline" is how livekit/egress spells it.
        self._upload_times = Histogram(
            "livekit_egress_pipline_upload_response_time_ms",
            "milliseconds of uploads",
            _UPLOAD,
            buckets=_MILLISECONDS,
            registry=self.registry,
        )

    def started(self, kind: str) -> None:
        """An egress begins."""
        self._requests.labels(**self._labels, type=kind).inc()

    def ended(self, kind: str, result: str) -> None:
        """An egress' handler is over. `result` is one of livekit/egress', which says how its process ended.

        It does not say whether the recording succeeded: that is in the egress' info.
        """
        self._requests.labels(**self._labels, type=kind).dec()
        self._results.labels(**self._labels, type=kind, result=result).inc()

    def uploaded(self, content_type: str, status: str, milliseconds: float, *, backup: bool) -> None:
        """An object was uploaded, or an upload failed. `status` is `success`, `4xx`, `5xx` or `internal`."""
        labels = {
            **self._labels,
            "type": content_type,
            "status": status,
            "custom_endpoint": self._custom_endpoint,
        }
        self._uploads.labels(**labels).inc()
        self._upload_times.labels(**labels).observe(milliseconds)
        if backup:
            self._backup.labels(**self._labels, output_type=content_type).inc()

    def _show(self, state: State) -> None:
        for name, text, read in (
            ("livekit_egress_available", "1 where no egress runs", state.is_idle),
            ("livekit_egress_can_accept_request", "1 where a room composite is taken", state.can_accept),
            ("livekit_egress_is_disabled", "1 where no egress is taken", state.is_disabled),
            ("livekit_egress_is_terminating", "1 once the worker must stop", state.is_terminating),
            ("livekit_egress_proc_rss_bytes", "memory of all processes of the worker", state.memory),
            ("livekit_egress_spool_used_bytes", "bytes that wait for the bucket", state.spool_used),
            ("livekit_egress_spool_free_bytes", "bytes that recordings may still take", state.spool_free),
        ):
            gauge = Gauge(name, text, _NODE, registry=self.registry)
            gauge.labels(**self._labels).set_function(_number(read))
        load = Gauge(
            "livekit_node_cpu_load",
            "used part of the worker's cores",
            (*_NODE, "node_type"),
            registry=self.registry,
        )
        load.labels(**self._labels, node_type="EGRESS").set_function(state.cpu_load)


def _number(read: Callable[[], float]) -> Callable[[], float]:
    return lambda: float(read())
