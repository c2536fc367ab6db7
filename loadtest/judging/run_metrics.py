"""The metrics of the whole run: of the API, the ramp, the SFU nodes, and of what changes with time. Pure."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median
from typing import Final

from loadtest.definition.scenario import RunMetric
from loadtest.judging.facts import RunFacts, Window
from loadtest.judging.not_measured import NotMeasured
from loadtest.result import ApiResult, Distribution, RampResult, RecordedMedia, RecordingResult, SfuSample


def run_metrics(run: RunFacts) -> dict[RunMetric, float]:
    """Every metric that has a value."""
    values: dict[RunMetric, float] = {}
    for metric in RunMetric:
        try:
            values[metric] = measure_run(metric, run)
        except NotMeasured:
            continue
    return values


def measure_run(metric: RunMetric, run: RunFacts) -> float:
    """One metric of the run.

    Raises:
        NotMeasured: it has no value.
    """
    return _MEASURES[metric](run)


def _api(run: RunFacts) -> ApiResult:
    if run.api is None:
        raise NotMeasured("no request was sent to the API")
    return run.api


def _api_latency(run: RunFacts) -> Distribution:
    latency = _api(run).latency_ms
    if latency is None:
        errors = ", ".join(f"{count} × {kind}" for kind, count in sorted(_api(run).errors.items()))
        raise NotMeasured(f"no request to the API was answered{': ' + errors if errors else ''}")
    return latency


def _api_error_ratio(run: RunFacts) -> float:
    api = _api(run)
    if not api.requests:
        raise NotMeasured("no request was sent to the API")
    return sum(api.errors.values()) / api.requests


def _api_achieved_ratio(run: RunFacts) -> float:
    # Counting whole requests in a time that is none of them gives a little more than all.
    return min(1.0, _api(run).achieved_per_s / _api(run).offered_per_s)


def _ramp(run: RunFacts) -> RampResult:
    if run.ramp is None:
        raise NotMeasured("nothing was ramped")
    return run.ramp


def _sfu(run: RunFacts) -> list[SfuSample]:
    samples = [sample for sample in run.sfu if sample.at_s in run.window]
    if not samples:
        raise NotMeasured("the SFU nodes gave no metrics in the measured time")
    return samples


def _packets_per_busy_core(run: RunFacts) -> float:
    """Of the nodes that carried packets: what an idle one uses says nothing about carrying.

    Packets are counted over longer than processors: a sample whose count begins before the measured time
    has clients in it that were still joining.
    """
    samples = [sample for sample in _sfu(run) if sample.at_s - sample.rtp_span_s in run.window]
    if not samples:
        longest = max(sample.rtp_span_s for sample in _sfu(run))
        raise NotMeasured(
            f"packets are counted over {longest:.0f} s, and {run.window.seconds:.0f} s were measured"
        )
    carrying = {sample.node for sample in samples if sample.packets_out > 0}
    cores = sum(sample.cpu_cores for sample in samples if sample.node in carrying)
    if not cores:
        raise NotMeasured("no SFU node sent packets in the measured time")
    return sum(sample.packets_out for sample in samples if sample.node in carrying) / cores


def _memory_growth(run: RunFacts) -> float:
    return _memory_mib(run, run.window.quarter(4)) / _memory_mib(run, run.window.quarter(2))


def _memory_mib(run: RunFacts, window: Window) -> float:
    """All nodes together, mean over time."""
    by_node: dict[str, list[float]] = {}
    for sample in _sfu(run):
        if sample.at_s in window:
            by_node.setdefault(sample.node, []).append(sample.memory_mib)
    nodes = {sample.node for sample in _sfu(run)}
    if by_node.keys() != nodes:
        raise NotMeasured(f"not every SFU node gave metrics from {window.from_s:.0f} to {window.to_s:.0f} s")
    return sum(fmean(values) for values in by_node.values())


def _latency_growth(run: RunFacts) -> float:
    return _latency_ms(run, run.window.quarter(4)) / _latency_ms(run, run.window.quarter(2))


def _latency_ms(run: RunFacts, window: Window) -> float:
    seconds = (second for client in run.clients for second in client.seconds if second.at_s in window)
    found = [second.latency_p50_ms for second in seconds if second.latency_p50_ms is not None]
    if not found:
        raise NotMeasured(f"no picture came from {window.from_s:.0f} to {window.to_s:.0f} s")
    return max(median(found), 1.0)


def _recording(run: RunFacts) -> RecordingResult:
    if run.recording is None:
        raise NotMeasured("nothing was recorded")
    return run.recording


def _recorded(run: RunFacts) -> RecordedMedia:
    media = _recording(run).media
    if media is None:
        raise NotMeasured(f"there is no file of the recording: {_recording(run).problem}")
    return media


def _recording_start(run: RunFacts) -> float:
    _recorded(run)
    start_ms = _recording(run).start_ms
    if start_ms is None:
        raise NotMeasured("no frame of the recording has a readable marker")
    return start_ms


def _recording_save(run: RunFacts) -> float:
    save_ms = _recording(run).save_ms
    if save_ms is None:
        raise NotMeasured(f"the recording was not saved: {_recording(run).problem}")
    return save_ms


def _recording_length(run: RunFacts) -> float:
    recorded_s = _recording(run).recorded_s
    if not recorded_s:
        raise NotMeasured(f"the recording never began: {_recording(run).problem}")
    return _recorded(run).duration_s / recorded_s


def _recording_delivered(run: RunFacts) -> float:
    media = _recorded(run)
    return media.delivered / media.sent if media.sent else 0.0


_MEASURES: Final[dict[RunMetric, Callable[[RunFacts], float]]] = {
    RunMetric.API_P50_MS: lambda run: _api_latency(run).p50,
    RunMetric.API_P95_MS: lambda run: _api_latency(run).p95,
    RunMetric.API_P99_MS: lambda run: _api_latency(run).p99,
    RunMetric.API_ERROR_RATIO: _api_error_ratio,
    RunMetric.API_ACHIEVED_RATIO: _api_achieved_ratio,
    RunMetric.API_REQUESTS_PER_S: lambda run: _api(run).achieved_per_s,
    RunMetric.HELD: lambda run: _ramp(run).held,
    RunMetric.SFU_PACKETS_PER_BUSY_CORE: _packets_per_busy_core,
    RunMetric.SFU_CORES_MAX: lambda run: max(sample.cpu_cores for sample in _sfu(run)),
    RunMetric.SFU_MEMORY_GROWTH_RATIO: _memory_growth,
    RunMetric.LATENCY_GROWTH_RATIO: _latency_growth,
    RunMetric.RECORDING_START_MS: _recording_start,
    RunMetric.RECORDING_SAVE_MS: _recording_save,
    RunMetric.RECORDING_LENGTH_RATIO: _recording_length,
    RunMetric.RECORDING_DELIVERED_RATIO: _recording_delivered,
    RunMetric.RECORDING_LONGEST_FREEZE_MS: lambda run: _recorded(run).longest_freeze_ms,
    RunMetric.RECORDING_AUDIO_MARKED_RATIO: lambda run: _recorded(run).tones_ratio,
}
