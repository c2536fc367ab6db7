"""Metrics, by livekit/egress' names."""

from __future__ import annotations

from prometheus_client import generate_latest

from recorder.metrics import Metrics, State

NODE = 'cluster_id="c",node_id="NE_1"'


def made() -> Metrics:
    state = State(
        is_idle=lambda: True,
        can_accept=lambda: False,
        is_disabled=lambda: False,
        is_terminating=lambda: True,
        cpu_load=lambda: 0.25,
        memory=lambda: 7.0,
        spool_used=lambda: 8.0,
        spool_free=lambda: 9.0,
    )
    return Metrics("NE_1", "c", state, custom_endpoint=True)


def samples(metrics: Metrics) -> dict[str, float]:
    """The samples of the text format, with sorted labels."""
    found = {}
    for line in generate_latest(metrics.registry).decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            family, _, labels = name.rstrip("}").partition("{")
            found[f"{family}{{{','.join(sorted(labels.split(',')))}}}"] = float(value)
    return found


def test_gauges_show_the_state() -> None:
    found = samples(made())
    for name, value in (
        ("available", 1),
        ("can_accept_request", 0),
        ("is_disabled", 0),
        ("is_terminating", 1),
        ("proc_rss_bytes", 7),
        ("spool_used_bytes", 8),
        ("spool_free_bytes", 9),
    ):
        assert found[f"livekit_egress_{name}{{{NODE}}}"] == value
    assert found[f'livekit_node_cpu_load{{{NODE},node_type="EGRESS"}}'] == 0.25


def test_egresses_are_counted() -> None:
    metrics = made()
    metrics.started("track")
    metrics.started("track")
    metrics.ended("track", "completed")
    found = samples(metrics)
    assert found[f'livekit_egress_requests{{{NODE},type="track"}}'] == 1
    assert found[f'livekit_egress_handler_results_total{{{NODE},result="completed",type="track"}}'] == 1


def test_uploads_are_counted_under_livekit_egress_own_names() -> None:
    metrics = made()
    metrics.uploaded("video/mp4", "success", 15, backup=False)
    metrics.uploaded("video/mp4", "success", 25, backup=True)
    found = samples(metrics)
    labels = 'cluster_id="c",custom_endpoint="true",node_id="NE_1",status="success",type="video/mp4"'
    assert found[f"livekit_egress_pipeline_uploads{{{labels}}}"] == 2
    assert found[f"livekit_egress_pipline_upload_response_time_ms_sum{{{labels}}}"] == 40
    assert found[f'livekit_egress_backup_storage_writes{{{NODE},output_type="video/mp4"}}'] == 1
