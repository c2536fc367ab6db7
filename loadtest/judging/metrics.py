"""From the figures of each client to its metrics, one number each. Pure.

What was not measured has no value and a reason instead: a threshold on it is missed, and says why.
`scenario.METRICS` says in a line what each metric means; here is how it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from loadtest.definition.scenario import Metric
from loadtest.judging.adapting import adapt_s
from loadtest.judging.facts import ClientFacts, JudgedClient, Picture
from loadtest.judging.not_measured import NotMeasured
from loadtest.result import AudioResult, ClientResult, Distribution, Second, VideoResult

_Tracks: TypeAlias = list[tuple[Picture, VideoResult]]


def client_metrics(client: JudgedClient) -> dict[Metric, float]:
    """Every metric that has a value."""
    values: dict[Metric, float] = {}
    for metric in Metric:
        try:
            values[metric] = measure(metric, client)
        except NotMeasured:
            continue
    return values


def measure(metric: Metric, client: JudgedClient) -> float:
    """One metric of one client.

    Raises:
        NotMeasured: it has no value.
    """
    return _MEASURES[metric](client.result, client.facts)


def _join_ms(client: ClientResult, facts: ClientFacts) -> float:
    # A token that was made with the API key cost no time of anybody's.
    return (client.join.token_ms or 0.0) + _signalling_ms(client, facts) + _ice_ms(client, facts)


def _token_ms(client: ClientResult, _: ClientFacts) -> float:
    return _known(client.join.token_ms, "no token was asked for")


def _signalling_ms(client: ClientResult, _: ClientFacts) -> float:
    return _known(client.join.signalling_ms, f"{client.name} did not join{_because(client)}")


def _ice_ms(client: ClientResult, _: ClientFacts) -> float:
    return _known(client.join.ice_ms, f"{client.name} had no media connection{_because(client)}")


def _first_video_ms(client: ClientResult, _: ClientFacts) -> float:
    return _known(client.join.first_video_ms, f"{client.name} got no picture{_because(client)}")


def _first_audio_ms(client: ClientResult, _: ClientFacts) -> float:
    return _known(client.join.first_audio_ms, f"{client.name} got no sound{_because(client)}")


def _because(client: ClientResult) -> str:
    return f": {client.reason}" if client.reason else ""


def _known(value: float | None, otherwise: str) -> float:
    if value is None:
        raise NotMeasured(otherwise)
    return value


def _seen(client: ClientResult, facts: ClientFacts) -> _Tracks:
    """Each picture that has to come, with what came of it in the measured time, be that nothing any more.

    For what grows in a stall: one that begins before the measured time and outlasts it has a length too.

    Raises:
        NotMeasured: nobody sends any, or one never came: of the others alone, no figure would be the worst.
    """
    tracks = [(picture, _track(client, picture)) for picture in _due(facts)]
    # Sizes are those of the client's whole life: who has none never saw it.
    missing = [str(picture) for picture, track in tracks if track is None or not track.layers]
    if missing:
        raise NotMeasured(f"{client.name} got no picture of {', '.join(missing)}{_because(client)}")
    return [(picture, track) for picture, track in tracks if track is not None]


def _came(client: ClientResult, facts: ClientFacts) -> _Tracks:
    """The same, for what is made of pictures: each must have come in the measured time.

    Raises:
        NotMeasured: as `_seen`, or one came no more.
    """
    tracks = _seen(client, facts)
    stopped = [str(picture) for picture, track in tracks if not track.delivered]
    if stopped:
        raise NotMeasured(
            f"{client.name} got no picture of {', '.join(stopped)} in the measured time{_because(client)}"
        )
    return tracks


def _due(facts: ClientFacts) -> tuple[Picture, ...]:
    if not facts.pictures:
        raise NotMeasured("nobody who stays sends a picture to it")
    return facts.pictures


def _track(client: ClientResult, picture: Picture) -> VideoResult | None:
    wanted = (picture.publisher, picture.source)
    return next((track for track in client.video if (track.publisher, track.source) == wanted), None)


def _slowest(
    tracks: Callable[[ClientResult, ClientFacts], _Tracks],
    figure: Callable[[VideoResult], Distribution | None],
    value: Callable[[Distribution], float],
) -> Callable[[ClientResult, ClientFacts], float]:
    def measured(client: ClientResult, facts: ClientFacts) -> float:
        found = [(picture, figure(track)) for picture, track in tracks(client, facts)]
        return max(value(_there(each, f"{picture} gave no samples")) for picture, each in found)

    return measured


def _there(figure: Distribution | None, otherwise: str) -> Distribution:
    if figure is None:
        raise NotMeasured(otherwise)
    return figure


def _delivered_ratio(client: ClientResult, facts: ClientFacts) -> float:
    return min(track.delivered / track.sent if track.sent else 0.0 for _, track in _came(client, facts))


def _pictures(client: ClientResult, facts: ClientFacts) -> float:
    tracks = [_track(client, picture) for picture in _due(facts)]
    return min(0 if track is None else track.delivered for track in tracks)


def _frozen_ratio(client: ClientResult, facts: ClientFacts) -> float:
    frozen = [sum(freeze.lasted_ms for freeze in track.freezes) for _, track in _seen(client, facts)]
    return min(1.0, max(frozen) / 1000 / facts.window.seconds)


def _longest_freeze_ms(client: ClientResult, facts: ClientFacts) -> float:
    lasted = [freeze.lasted_ms for _, track in _seen(client, facts) for freeze in track.freezes]
    return max(lasted, default=0.0)


def _seconds(client: ClientResult, facts: ClientFacts) -> list[Second]:
    seconds = [second for second in client.seconds if second.at_s in facts.window]
    if not seconds:
        raise NotMeasured(f"{client.name} told nothing in the measured time{_because(client)}")
    return seconds


def _received_kbps(client: ClientResult, facts: ClientFacts) -> float:
    seconds = _seconds(client, facts)
    return sum(second.received_kbps for second in seconds) / len(seconds)


def _settled_height(client: ClientResult, facts: ClientFacts) -> float:
    """The tallest track's: the height that came for the longest part of the window's second half."""
    return max(_longest_height(track, facts) for _, track in _came(client, facts))


def _longest_height(track: VideoResult, facts: ClientFacts) -> int:
    begin, end = facts.window.from_s + facts.window.seconds / 2, facts.window.to_s
    lasted: dict[int, float] = {}
    ends = [*(layer.at_s for layer in track.layers[1:]), end]
    for layer, until in zip(track.layers, ends, strict=True):
        inside = min(until, end) - max(layer.at_s, begin)
        if inside > 0:
            lasted[layer.height] = lasted.get(layer.height, 0.0) + inside
    if not lasted:
        raise NotMeasured(f"no picture of {track.publisher}'s {track.source} came in its size to settle on")
    return max(lasted, key=lambda height: lasted[height])


def _top_layer_s(client: ClientResult, facts: ClientFacts) -> float:
    connected_s = _known(facts.connected_s, f"{client.name} did not connect{_because(client)}")
    reached: list[float] = []
    for picture, track in _came(client, facts):
        tops = [layer.at_s for layer in track.layers if layer.height >= picture.camera.height]
        if not tops:
            tallest = max(layer.height for layer in track.layers)
            raise NotMeasured(
                f"{picture} never came to {client.name} in its own height {picture.camera.height}, "
                f"but in {tallest} at most"
            )
        reached.append(tops[0] - connected_s)
    return max(reached)


def _layer_switches(client: ClientResult, facts: ClientFacts) -> float:
    """Over all tracks; the first size that comes is no change."""
    changes = [layer for _, track in _came(client, facts) for layer in track.layers[1:]]
    return sum(layer.at_s in facts.window for layer in changes)


def _adapt_s(client: ClientResult, facts: ClientFacts) -> float:
    _came(client, facts)
    return adapt_s(client, facts)


def _lost_ratio(client: ClientResult, facts: ClientFacts) -> float:
    return _known(facts.lost_ratio, f"{client.name} counted no packets{_because(client)}")


def _jitter_ms(client: ClientResult, facts: ClientFacts) -> float:
    found = [second.jitter_ms for second in _seconds(client, facts) if second.jitter_ms is not None]
    return _known(max(found, default=None), f"{client.name} measured no jitter")


def _round_trip_ms(client: ClientResult, facts: ClientFacts) -> float:
    found = [each.round_trip_ms for each in _seconds(client, facts) if each.round_trip_ms is not None]
    return _known(sum(found) / len(found) if found else None, f"{client.name} measured no round trip")


def _sounds(client: ClientResult, facts: ClientFacts) -> list[AudioResult]:
    """What came of every voice that has to.

    Raises:
        NotMeasured: nobody speaks, or one was not heard.
    """
    if not facts.voices:
        raise NotMeasured("nobody who stays sends sound to it")
    heard = {
        sound.publisher: sound for sound in client.audio if sound.steps_in_order or sound.marked_ratio > 0
    }
    missing = [voice for voice in facts.voices if voice not in heard]
    if missing:
        raise NotMeasured(f"{client.name} heard nothing of {', '.join(missing)}{_because(client)}")
    return [heard[voice] for voice in facts.voices]


def _audio_marked_ratio(client: ClientResult, facts: ClientFacts) -> float:
    return min(sound.marked_ratio for sound in _sounds(client, facts))


def _longest_audio_gap_ms(client: ClientResult, facts: ClientFacts) -> float:
    lasted = [gap.lasted_ms for sound in _sounds(client, facts) for gap in sound.gaps]
    return max(lasted, default=0.0)


def _recovery_ms(client: ClientResult, _: ClientFacts) -> float:
    if not client.interruptions:
        raise NotMeasured(f"no action was seen by {client.name}{_because(client)}")
    return max(
        _known(
            each.recovery_ms,
            f"no picture came to {client.name} again after {each.action} at {each.at_s:.1f} s"
            f"{_because(client)}",
        )
        for each in client.interruptions
    )


def _clock_difference_ms(client: ClientResult, _: ClientFacts) -> float:
    differences = [
        abs(track.second_clock.median_difference_ms)
        for track in client.video
        if track.second_clock is not None and track.second_clock.count
    ]
    return _known(max(differences, default=None), f"the pictures that {client.name} got carried no metadata")


def _encode_ms(client: ClientResult, facts: ClientFacts) -> float:
    return _known(facts.own.encode_ms, f"{client.name} encoded no picture{_because(client)}")


def _jitter_buffer_ms(client: ClientResult, facts: ClientFacts) -> float:
    return _known(facts.own.jitter_buffer_ms, f"{client.name} decoded no picture{_because(client)}")


def _decode_ms(client: ClientResult, facts: ClientFacts) -> float:
    return _known(facts.own.decode_ms, f"{client.name} decoded no picture{_because(client)}")


_MEASURES: Final[dict[Metric, Callable[[ClientResult, ClientFacts], float]]] = {
    Metric.JOIN_MS: _join_ms,
    Metric.TOKEN_MS: _token_ms,
    Metric.SIGNALLING_MS: _signalling_ms,
    Metric.ICE_MS: _ice_ms,
    Metric.FIRST_VIDEO_MS: _first_video_ms,
    Metric.FIRST_AUDIO_MS: _first_audio_ms,
    Metric.LATENCY_P50_MS: _slowest(_came, lambda track: track.latency_ms, lambda latency: latency.p50),
    Metric.LATENCY_P95_MS: _slowest(_came, lambda track: track.latency_ms, lambda latency: latency.p95),
    Metric.LATENCY_P99_MS: _slowest(_came, lambda track: track.latency_ms, lambda latency: latency.p99),
    Metric.AGE_P95_MS: _slowest(_seen, lambda track: track.age_ms, lambda age: age.p95),
    Metric.AGE_MAX_MS: _slowest(_seen, lambda track: track.age_ms, lambda age: age.maximum),
    Metric.DELIVERED_RATIO: _delivered_ratio,
    Metric.PICTURES: _pictures,
    Metric.FROZEN_RATIO: _frozen_ratio,
    Metric.LONGEST_FREEZE_MS: _longest_freeze_ms,
    Metric.RECEIVED_KBPS: _received_kbps,
    Metric.SETTLED_HEIGHT: _settled_height,
    Metric.TOP_LAYER_S: _top_layer_s,
    Metric.ADAPT_S: _adapt_s,
    Metric.LAYER_SWITCHES: _layer_switches,
    Metric.LOST_RATIO: _lost_ratio,
    Metric.JITTER_MS: _jitter_ms,
    Metric.ROUND_TRIP_MS: _round_trip_ms,
    Metric.AUDIO_MARKED_RATIO: _audio_marked_ratio,
    Metric.LONGEST_AUDIO_GAP_MS: _longest_audio_gap_ms,
    Metric.RECOVERY_MS: _recovery_ms,
    Metric.CLOCK_DIFFERENCE_MS: _clock_difference_ms,
    Metric.ENCODE_MS: _encode_ms,
    Metric.JITTER_BUFFER_MS: _jitter_buffer_ms,
    Metric.DECODE_MS: _decode_ms,
}
