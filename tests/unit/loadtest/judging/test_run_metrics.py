from __future__ import annotations

from typing import Any

import pytest

from loadtest.definition.scenario import RUN_METRICS, RunMetric
from loadtest.judging.facts import RunFacts, Window
from loadtest.judging.not_measured import NotMeasured
from loadtest.judging.run_metrics import measure_run, run_metrics
from loadtest.judging.thresholds import check_recording
from loadtest.result import ApiResult, Freeze, RampResult, RecordedMedia, RecordingResult, SfuSample
from tests.unit.loadtest.judging.judged import WINDOW, milliseconds, result, seconds


def sfu(node: str = "a", **of_each: Any) -> tuple[SfuSample, ...]:
    usual = {
        "cpu_cores": 0.2,
        "memory_mib": 100,
        "packets_in": 50,
        "packets_out": 400,
        "bytes_in": 1,
        "bytes_out": 1,
    }
    return tuple(SfuSample(at_s=at, node=node, **{**usual, **of_each}) for at in range(4, 44, 2))


def run(**changed: Any) -> RunFacts:
    return RunFacts(**{"window": WINDOW, "clients": (result(),), **changed})


def api(**changed: Any) -> ApiResult:
    usual = {
        "offered_per_s": 100,
        "achieved_per_s": 99,
        "requests": 1000,
        "latency_ms": milliseconds(*range(1, 101)),
        "service_ms": milliseconds(5),
        "errors": {"429": 8, "timeout": 2},
    }
    return ApiResult(**{**usual, **changed})


def test_every_metric_says_what_it_means() -> None:
    assert set(RUN_METRICS) == set(RunMetric)


def test_of_the_api() -> None:
    values = run_metrics(run(api=api()))
    assert (values[RunMetric.API_P50_MS], values[RunMetric.API_P99_MS]) == (51, 100)
    assert values[RunMetric.API_ERROR_RATIO] == 0.01
    assert values[RunMetric.API_ACHIEVED_RATIO] == 0.99
    assert values[RunMetric.API_REQUESTS_PER_S] == 99


def test_an_api_that_answers_nothing_says_what_it_did_instead() -> None:
    with pytest.raises(NotMeasured, match=r"no request to the API was answered: 8 × 429, 2 × timeout"):
        measure_run(RunMetric.API_P99_MS, run(api=api(latency_ms=None)))


def test_packets_per_busy_core_are_of_the_nodes_that_carry() -> None:
    samples = (*sfu("a"), *sfu("idle", packets_out=0, cpu_cores=0.5))
    assert measure_run(RunMetric.SFU_PACKETS_PER_BUSY_CORE, run(sfu=samples)) == pytest.approx(2000)
    assert measure_run(RunMetric.SFU_CORES_MAX, run(sfu=samples)) == 0.5


def test_packets_of_the_time_in_which_clients_joined_do_not_count() -> None:
    joining = tuple(
        sample.model_copy(update={"packets_out": 100 if sample.at_s < 20 else 400, "rtp_span_s": 10})
        for sample in sfu()
    )
    assert measure_run(RunMetric.SFU_PACKETS_PER_BUSY_CORE, run(sfu=joining)) == pytest.approx(2000)
    with pytest.raises(NotMeasured, match="packets are counted over 10 s, and 8 s were measured"):
        measure_run(RunMetric.SFU_PACKETS_PER_BUSY_CORE, run(sfu=joining, window=Window(10, 18)))


def test_samples_outside_of_the_window_do_not_count() -> None:
    outside = tuple(s for s in sfu() if s.at_s not in WINDOW)
    with pytest.raises(NotMeasured, match="gave no metrics"):
        measure_run(RunMetric.SFU_CORES_MAX, run(sfu=outside))


def test_growth_is_the_last_quarter_against_the_second() -> None:
    # 10 to 40 s: the second quarter is 17.5 to 25 s, the last one 32.5 to 40 s.
    grows = tuple(
        s.model_copy(update={"memory_mib": 40 if s.at_s < 17 else 100 if s.at_s < 30 else 150}) for s in sfu()
    )
    assert measure_run(RunMetric.SFU_MEMORY_GROWTH_RATIO, run(sfu=grows)) == pytest.approx(1.5)
    warming_up = seconds(5, 17, latency_p50_ms=900)
    slower = (*warming_up, *seconds(18, 30, latency_p50_ms=50), *seconds(30, 40, latency_p50_ms=200))
    clients = (result(seconds=slower),)
    assert measure_run(RunMetric.LATENCY_GROWTH_RATIO, run(clients=clients)) == 4


def test_a_node_that_is_gone_in_the_end_has_not_shrunk() -> None:
    gone = (*sfu("a"), *(s for s in sfu("b") if s.at_s < 30))
    with pytest.raises(NotMeasured, match="not every SFU node"):
        measure_run(RunMetric.SFU_MEMORY_GROWTH_RATIO, run(sfu=gone))


def test_what_a_ramp_held() -> None:
    assert measure_run(RunMetric.HELD, run(ramp=RampResult(group="viewers", held=6, steps=()))) == 6
    with pytest.raises(NotMeasured, match="nothing was ramped"):
        measure_run(RunMetric.HELD, run())


MEDIA = RecordedMedia(
    duration_s=29,
    size_bytes=1_000_000,
    width=1280,
    height=720,
    first_captured_ms=1000,
    delivered=270,
    sent=300,
    unreadable=0,
    out_of_order=0,
    freezes=(Freeze(at_s=1, lasted_ms=400), Freeze(at_s=9, lasted_ms=900)),
    tones_ratio=0.9,
)


def test_of_the_recording() -> None:
    recording = RecordingResult(egress_id="EG_1", start_ms=1500, save_ms=800, recorded_s=30, media=MEDIA)
    values = run_metrics(run(recording=recording))
    assert values[RunMetric.RECORDING_START_MS] == 1500
    assert values[RunMetric.RECORDING_SAVE_MS] == 800
    assert values[RunMetric.RECORDING_LENGTH_RATIO] == pytest.approx(29 / 30)
    assert values[RunMetric.RECORDING_DELIVERED_RATIO] == 0.9
    assert values[RunMetric.RECORDING_LONGEST_FREEZE_MS] == 900
    assert values[RunMetric.RECORDING_AUDIO_MARKED_RATIO] == 0.9


@pytest.mark.parametrize("metric", [metric for metric in RunMetric if metric.startswith("recording_")])
def test_a_recording_without_a_file_has_no_figures(metric: RunMetric) -> None:
    with pytest.raises(NotMeasured, match="no worker took the request"):
        measure_run(metric, run(recording=RecordingResult(problem="no worker took the request")))
    with pytest.raises(NotMeasured, match="nothing was recorded"):
        measure_run(metric, run())


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        (RecordingResult(media=MEDIA), ""),
        (RecordingResult(problem="refused"), "refused"),
        (RecordingResult(egress_id="EG_1"), "the recording was not evaluated: the run ended early"),
        (
            RecordingResult(key="a.mp4", media=MEDIA.model_copy(update={"delivered": 0})),
            "no frame of a.mp4 has a readable marker",
        ),
        (
            RecordingResult(key="a.mp4", media=MEDIA.model_copy(update={"out_of_order": 3})),
            "3 frames of a.mp4 come after a later one",
        ),
    ],
)
def test_a_recording_is_checked(recording: RecordingResult, reason: str) -> None:
    checked = check_recording(recording)
    assert (checked.passed, checked.reason) == (not reason, reason)
