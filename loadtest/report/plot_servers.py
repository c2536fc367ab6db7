"""Plots of joining, of the API, of the SFUs and of the machine that makes the load."""

from __future__ import annotations

from typing import Final

from loadtest.report.plot_frame import Frame, Picture, thinned
from loadtest.report.series import series
from loadtest.report.svg import Axis, Bar, Level, Line, Plot, Point, draw, draw_bars, value_axis
from loadtest.result import ClientResult, RunResult, SfuSample

_MOST_BARS: Final = 24


def joins(result: RunResult) -> Picture | None:
    names = ("token", "signalling", "ICE + DTLS", "to first media")
    bars = sorted(
        (_join_bar(client) for client in result.clients if client.join.signalling_ms is not None),
        key=lambda bar: -sum(part or 0 for part in bar.parts),
    )
    if not bars:
        return None
    left_out = f" The {_MOST_BARS} slowest of {len(bars)}." if len(bars) > _MOST_BARS else ""
    title = "Where the time of joining went"
    return Picture(
        title,
        "Long signalling: the server or its Redis. Long ICE: addresses, firewalls, TURN. Long first media: "
        f"the first key picture, or too little capacity.{left_out}",
        draw_bars(title, "ms", names, bars[:_MOST_BARS]),
    )


def _join_bar(client: ClientResult) -> Bar:
    join = client.join
    connected = (join.signalling_ms or 0) + (join.ice_ms or 0)
    first = join.first_video_ms if join.first_video_ms is not None else join.first_audio_ms
    rest = max(first - connected, 0) if first is not None and join.ice_ms is not None else None
    parts = (join.token_ms, join.signalling_ms, join.ice_ms, rest)
    note = f"{sum(part or 0 for part in parts):.0f}" if join.ice_ms is not None else "no media"
    return Bar(client.name, parts, note)


def api_by_percentile(result: RunResult) -> Picture | None:
    api = result.api
    if api is None or api.latency_ms is None:
        return None
    shown = [("since due", api.latency_ms)]
    if api.service_ms is not None:
        shown.append(("since sent", api.service_ms))
    lines = [
        Line(label, list(enumerate(found.quantiles[:100])), colour, dashed=colour == 1)
        for colour, (label, found) in enumerate(shown)
    ]
    title = "API latency by percentile"
    x = Axis("percentile of requests", 100, (0, 25, 50, 75, 90, 99))
    return Picture(
        title,
        "From when a request was due, and from when it was sent: where the lines part, requests had to wait "
        "here first. Drawn up to p99; the largest "
        f"took {api.latency_ms.maximum:.0f} ms.",
        draw(Plot(title, x, value_axis("ms", max(one.quantiles[99] for _, one in shown)), lines)),
    )


def api_over_time(frame: Frame) -> Picture | None:
    api = frame.result.api
    if api is None or not any(second.latency_p50_ms is not None for second in api.seconds):
        return None
    middle = series(api.seconds, lambda second: second.latency_p50_ms, frame.width)
    most = series(api.seconds, lambda second: second.latency_max_ms, frame.width)
    tops = {at: high for at, _, high in most.band}
    band = [(at, low, tops.get(at, high)) for at, low, high in middle.band]
    title = "API latency"
    return Picture(
        title,
        "From when a request was due to its answer. Line: median of each second; band: up to the slowest.",
        frame.draw(
            title, value_axis("ms", max(high for _, _, high in band)), [Line("p50", middle.middle, 0, band)]
        ),
    )


def _nodes(result: RunResult) -> dict[str, list[SfuSample]]:
    nodes: dict[str, list[SfuSample]] = {}
    for sample in result.sfu:
        nodes.setdefault(sample.node, []).append(sample)
    return nodes


def cores(frame: Frame) -> Picture | None:
    result = frame.result
    lines = [
        Line(f"SFU {node}", [(sample.at_s, sample.cpu_cores) for sample in samples], colour)
        for colour, (node, samples) in enumerate(_nodes(result).items())
    ]
    processors = result.environment.processors
    if result.generator:
        colour = len(lines)
        own: list[Point] = [(one.at_s, one.own_cores) for one in result.generator]
        machine: list[Point] = [(one.at_s, one.cpu_ratio * processors) for one in result.generator]
        lines.append(Line("generator", own, colour, dashed=True))
        lines.append(Line("whole machine", machine, colour + 1, dashed=True))
    if not lines:
        return None
    lines = [thinned(line, frame.width) for line in lines]
    highest = max([value or 0 for line in lines for _, value in line.points], default=0)
    title = "Processors that were busy"
    return Picture(
        title,
        "Solid: SFUs. Dashed: this machine. Where the machine meets its limit the generator is too slow, "
        "and the run's figures are its own, not the SFU's.",
        frame.draw(
            title,
            value_axis("cores", max(highest, processors * 1.02) if result.generator else highest),
            lines,
            [Level(f"all {processors} of this machine", processors)] if result.generator else [],
        ),
    )


def packets(frame: Frame) -> Picture | None:
    nodes = _nodes(frame.result)
    if not nodes:
        return None
    lines = []
    for colour, (node, samples) in enumerate(nodes.items()):
        name = f"{node} " if len(nodes) > 1 else ""
        lines.append(Line(f"{name}out", [(one.at_s, one.packets_out) for one in samples], colour))
        lines.append(Line(f"{name}in", [(one.at_s, one.packets_in) for one in samples], colour, dashed=True))
    lines = [thinned(line, frame.width) for line in lines]
    highest = max(value or 0 for line in lines for _, value in line.points)
    title = "Packets through the SFUs"
    return Picture(
        title,
        "Solid: sent to clients. Dashed: taken in. Out should follow in, times the subscribers.",
        frame.draw(title, value_axis("packets per second", highest), lines),
    )
