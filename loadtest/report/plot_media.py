"""Plots of what clients saw: latency, age, bitrate against capacity, height."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from loadtest.report.plot_frame import Frame, Grouped, Picture
from loadtest.report.series import clients_of, group_names, seconds_of, series
from loadtest.report.svg import Axis, Level, Line, Plot, Point, draw, value_axis
from loadtest.result import LinkResult, RunResult

HARD_CAP_MS: Final = 3000
# The cap is drawn once values come near enough for it to mean something.
_CAP_IN_VIEW: Final = 0.4
# A capacity so far above the traffic would press the traffic to the ground: it is said, not drawn.
_CAPACITY_IN_VIEW: Final = 2.5
# More lines than this cannot be told apart: they take their group's colour and name.
_MOST_NAMED_LINES: Final = 4


def _cap_levels(highest: float) -> tuple[Level, ...]:
    return (Level("3 s hard cap", HARD_CAP_MS),) if highest >= _CAP_IN_VIEW * HARD_CAP_MS else ()


def _with_cap(label: str, highest: float) -> Axis:
    return value_axis(label, max(highest, HARD_CAP_MS * 1.05) if _cap_levels(highest) else highest)


def latency(frame: Frame) -> Picture | None:
    middle = frame.by_group(lambda second: second.latency_p50_ms)
    worst = {one.group: one.values for one in frame.by_group(lambda second: second.latency_max_ms)}
    if not middle:
        return None
    lines = []
    for one in middle:
        tops = {at: high for at, _, high in worst[one.group].band} if one.group in worst else {}
        band = [(at, low, tops.get(at, high)) for at, low, high in one.values.band]
        lines.append(Line(f"{one.group} p50", one.values.middle, one.colour, band))
    highest = max(high for line in lines for _, _, high in line.band)
    title = "Latency, capture to decoded"
    return Picture(
        title,
        "Line: median over the group's clients. Band: from the quickest median to the slowest picture. "
        "A stall gives no pictures: the line stops, and the next plot rises.",
        frame.draw(title, _with_cap("ms", highest), lines, _cap_levels(highest)),
    )


def age(frame: Frame) -> Picture | None:
    grouped = frame.by_group(lambda second: second.age_max_ms)
    if not grouped:
        return None
    highest = max(one.values.highest_value for one in grouped)
    lines = [Line(one.group, one.values.middle, one.colour, one.values.band) for one in grouped]
    title = "Age of the newest picture"
    return Picture(
        title,
        "What a person would see: it grows for as long as no new picture comes. "
        "A saw tooth is a freeze, its tip the length of it. Line: median client; band: all of them.",
        frame.draw(title, _with_cap("ms, the oldest in each second", highest), lines, _cap_levels(highest)),
    )


def cdf(result: RunResult) -> Picture | None:
    colours = {group: colour for colour, group in enumerate(group_names(result))}
    found = [
        (client, video.publisher, video.latency_ms.quantiles[:100])
        for client in result.clients
        for video in client.video
        if video.latency_ms is not None
    ]
    if not found:
        return None
    crowded = len(found) > _MOST_NAMED_LINES
    several = len({publisher for _, publisher, _ in found}) > 1
    lines, named = [], set[str]()
    for index, (client, publisher, quantiles) in enumerate(found):
        label = f"{client.name} ← {publisher}" if several else client.name
        if crowded:
            label = "" if client.group in named else client.group
            named.add(client.group)
        points = [(value, percent) for percent, value in enumerate(quantiles)]
        lines.append(Line(label, points, colours[client.group] if crowded else index, faint=crowded))
    highest = max(quantiles[-1] for _, _, quantiles in found)
    title = "Latency of all pictures, per client"
    percent = Axis("% of pictures that were quicker", 100, (0, 25, 50, 75, 100))
    return Picture(
        title,
        "Steep and to the left is good; lines apart are clients treated differently. "
        "Drawn up to the 99th percentile.",
        draw(Plot(title, value_axis("capture to decoded, ms", highest), percent, lines)),
    )


def bitrates(frame: Frame) -> list[Picture]:
    links = {link.group: link for link in frame.result.links}
    drawn = []
    for colour, group in enumerate(group_names(frame.result)):
        clients = clients_of(frame.result, group)
        for verb, value in (
            ("Received", lambda second: second.received_kbps),
            ("Sent", lambda second: second.sent_kbps),
        ):
            values = series(seconds_of(clients), value, frame.width)
            # RTCP alone is no media.
            if values.highest_value >= 5:
                drawn.append(_bitrate(frame, verb, Grouped(group, colour, values), links.get(group)))
    return drawn


def _bitrate(frame: Frame, verb: str, found: Grouped, link: LinkResult | None) -> Picture:
    group, colour, values = found.group, found.colour, found.values
    capacity = _capacity(link, verb == "Received", frame.x.high) if link else ()
    largest = max((kbps for _, kbps in capacity if kbps is not None), default=0.0)
    lines = [Line("median client", values.middle, colour, values.band)]
    said = ""
    if largest and largest <= _CAPACITY_IN_VIEW * values.highest_value:
        lines.append(Line("link capacity", capacity, 5, stepped=True, dashed=True))
        said = " Dashed: what the link carries; media must stay below it."
    elif largest:
        said = f" The link carries {largest:.0f} kbit/s, far above this view."
    highest = max(values.highest_value, largest if len(lines) > 1 else 0)
    title = f"{verb} by {group}"
    return Picture(
        title,
        f"Media per client, from the WebRTC statistics. Band: all clients.{said}",
        frame.draw(title, value_axis("kbit/s", highest), lines),
    )


def _capacity(link: LinkResult, down: bool, end: float) -> tuple[Point, ...]:
    """The link's capacity over time, the profile's own before the first change."""
    direction = link.profile.down if down else link.profile.up
    changes = [
        (change.at_s, change.down_kbps if down else change.up_kbps)
        for change in sorted(link.capacity, key=lambda change: change.at_s)
    ]
    # A change that leaves this direction alone says None.
    points: list[Point] = [(0, direction.rate_kbps)]
    points += [(at, kbps) for at, kbps in changes if kbps is not None]
    return (*points, (end, points[-1][1]))


def height(frame: Frame) -> Picture | None:
    grouped = frame.by_group(lambda second: second.height or None)
    if not grouped:
        return None
    lines = [Line(one.group, one.values.lowest, one.colour, one.values.band, stepped=True) for one in grouped]
    heights = sorted({value for line in lines for _, low, high in line.band for value in (low, high)})
    # Layers lie far apart; a picture that is scaled meanwhile would crowd the axis.
    ticks = [0.0, *heights[:1]]
    ticks += [after for before, after in pairwise(heights) if after - before >= heights[-1] / 12]
    title = "Height of the picture"
    return Picture(
        title,
        "Which layer came: a step down is the SFU sparing a link. Line: the lowest client; band: all.",
        frame.draw(title, Axis("pixels", heights[-1] * 1.1, tuple(ticks)), lines),
    )
