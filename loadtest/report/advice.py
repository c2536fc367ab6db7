"""What to look at next, after a run that did not pass. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.definition.scenario import Metric, RunMetric
from loadtest.report.words import count, metric_in, missed, stolen
from loadtest.result import ClientResult, Outcome, RunResult, Verdict

# What a missed metric asks to be looked at; the first that fits is said, once.
_BY_METRIC: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset({Metric.SETTLED_HEIGHT, Metric.TOP_LAYER_S, Metric.ADAPT_S, Metric.LAYER_SWITCHES}),
        "Layers: compare the picture's height with what the group receives and its link's capacity. "
        "Is the publisher sending all its layers?",
    ),
    (
        frozenset({Metric.LOST_RATIO, Metric.JITTER_MS, Metric.ROUND_TRIP_MS}),
        "Network: compare the loss, jitter and round trip of the clients with the calibrated link.",
    ),
    (
        frozenset({Metric.AUDIO_MARKED_RATIO, Metric.LONGEST_AUDIO_GAP_MS, Metric.FIRST_AUDIO_MS}),
        "Audio: is only one speaker's track hit (its publisher), or all (the SFU or the links)?",
    ),
    (
        frozenset({Metric.RECOVERY_MS}),
        "Recovery: the table of interruptions says which action it was, and what the transport was after it.",
    ),
    (
        frozenset({Metric.TOKEN_MS, *(metric for metric in RunMetric if metric.startswith("api_"))}),
        "API: which errors came, and whether requests waited here (since due) or there (since sent); then "
        "token-api's log.",
    ),
    (
        frozenset({RunMetric.SFU_MEMORY_GROWTH_RATIO, RunMetric.LATENCY_GROWTH_RATIO}),
        "Growth: something is not given back over time; look at memory and rooms of the SFU.",
    ),
    (
        frozenset(metric for metric in RunMetric if metric.startswith("recording_")),
        "Recording: search the egress worker's log for the egress id. Did the worker have the processor time "
        "that it asks for? Did viewers on the same link miss frames, too?",
    ),
    (
        frozenset({Metric.CLOCK_DIFFERENCE_MS}),
        "Clocks: both latency clocks must agree before any latency is believed.",
    ),
)
_SMOOTHNESS = frozenset(
    {
        *(metric for metric in Metric if metric.startswith(("latency", "age"))),
        Metric.DELIVERED_RATIO,
        Metric.PICTURES,
        Metric.FROZEN_RATIO,
        Metric.LONGEST_FREEZE_MS,
        Metric.RECEIVED_KBPS,
    }
)


def advice(result: RunResult) -> tuple[str, ...]:
    """Sentences, the most telling first; none for a run that passed."""
    match result.verdict:
        case Verdict.PASSED:
            return ()
        case Verdict.COULD_NOT_RUN:
            return ("Nothing was measured. Put this right, then run the command again.",)
        case Verdict.INVALID:
            return ("Put right what is named above, then run it again; until then believe no figure here.",)
        case Verdict.FAILED:
            return (*_clients(result.clients), *_metrics(result))


def _clients(clients: Sequence[ClientResult]) -> list[str]:
    found = []
    ended = [client for client in clients if client.outcome is not Outcome.FINISHED]
    if ended:
        found.append(
            f"{len(ended)} of {count(len(clients), 'client')} ended early: {_names(ended)}. Read the log of "
            f"{ended[0].name} from its end; it gave as reason: {ended[0].reason or 'nothing'}"
        )
    silent = [client for client in clients if client.join.signalling_ms is None]
    if silent:
        found.append(
            f"{_names(silent)} never got the server's answer to joining: look at the signalling address, "
            "its certificate, and the server's log."
        )
    unconnected = [one for one in clients if one.join.signalling_ms is not None and one.join.ice_ms is None]
    if unconnected:
        found.append(
            f"{_names(unconnected)} got the server's answer but no media connection: look at the address "
            "that the SFU announces (node IP), at firewalls on UDP and TCP media ports, and at TURN."
        )
    dark = [client for client in clients if _is_dark(client)]
    if dark:
        found.append(
            f"{_names(dark)} connected but got no picture: did the publisher send any? Its row in the table "
            "of clients says how many it captured."
        )
    return found


def _is_dark(client: ClientResult) -> bool:
    expects_video = bool(client.video) or Metric.PICTURES in client.metrics
    return (
        client.outcome is Outcome.FINISHED
        and client.join.ice_ms is not None
        and expects_video
        and (client.metrics.get(Metric.PICTURES) == 0 or any(video.delivered == 0 for video in client.video))
    )


def _metrics(result: RunResult) -> list[str]:
    broken = {metric_in(check.threshold) for check in missed(result)} - {""}
    found = []
    if broken & _SMOOTHNESS:
        found.append(_where_it_was_slow(result))
    found += [sentence for metrics, sentence in _BY_METRIC if broken & metrics]
    return found


def _where_it_was_slow(result: RunResult) -> str:
    """Which of SFU, generator and link was at its limit, as far as the samples tell."""
    said = []
    if result.sfu:
        busiest = max(result.sfu, key=lambda sample: sample.cpu_cores)
        said.append(
            f"the busiest SFU ({busiest.node}) used {busiest.cpu_cores:.2f} cores at most "
            "(less than its load needs? it is held back: look at its CPU limit)"
        )
    if result.generator:
        peak = max(sample.cpu_ratio for sample in result.generator)
        said.append(f"this machine was {peak:.0%} busy at most{stolen(result.generator)}")
    waited = {
        c.name: c.metrics[Metric.JITTER_BUFFER_MS]
        for c in result.clients
        if Metric.JITTER_BUFFER_MS in c.metrics
    }
    if waited:
        longest = max(waited, key=lambda name: waited[name])
        said.append(f"pictures waited {waited[longest]:.0f} ms in the jitter buffer of {longest}")
    queue = sum(link.dropped_by_queue for link in result.links)
    if queue:
        said.append(f"the links' queues dropped {count(queue, 'packet')}")
    parts = "; ".join(said) or "neither the SFU nor this machine was sampled"
    return f"Slow or missing pictures: {parts}. Compare age, bitrate and busy processors at the same second."


def _names(clients: Sequence[ClientResult], most: int = 3) -> str:
    shown = ", ".join(client.name for client in clients[:most])
    return shown if len(clients) <= most else f"{shown} and {len(clients) - most} more"
