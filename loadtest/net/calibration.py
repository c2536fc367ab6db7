"""What a link really does, compared with what its profile claims: measured through the link itself.

Three things at once, each on links of its own of the same group: sparse irtt packets for delay and
jitter (so far apart that the order they are kept in changes nothing), dense ones for loss, and more
datagrams than the capacity for the capacity.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from loadtest.definition.profile import Direction, NetworkProfile
from loadtest.net import burst, irtt
from loadtest.net.bridge import ClientNetwork
from loadtest.net.link import LinkGroup, LinkStatistics, client_links
from loadtest.net.namespace import ClientNamespace, client_namespace

Way: TypeAlias = Literal["down", "up"]
Quantity: TypeAlias = Literal["delay_ms", "jitter_ms", "loss_percent", "capacity_kbps"]

_CHECKOUT = Path(__file__).parents[2]
_CLIENTS = 6
_DELAY_CLIENTS = 4
# One in 15000 by chance alone, for each row.
_DEVIATIONS = 4.0
_OWN_DELAY_MS = 0.75  # of the machine: the way through it, the emulator's and irtt's own wake-ups
_RELATIVE_DELAY = 0.02
_RELATIVE_CAPACITY = 0.05
_OVERLOAD = 1.4
_BURST_SECONDS = 3.0
_LOSS_SHARE_OF_CAPACITY = 0.25
_PORTS: dict[Way, int] = {"down": 5001, "up": 5002}


class CalibrationRow(BaseModel):
    """One quantity in one direction.

    Attributes:
        quantity: `delay_ms` is the median of the one-way delay, `jitter_ms` the distance of its quartiles
            (for a delay uniform within ± J, that is J), `loss_percent` the share that did not arrive,
            `capacity_kbps` what came out when more was put in.
        requested: by the profile.
        achieved: as measured; None where nothing could be measured.
        tolerance: how far apart the two may be: for `delay_ms` and `jitter_ms` 0.75 ms + 2 % + 4
            standard errors, for `loss_percent` 4 standard errors of the loss model + one packet, for
            `capacity_kbps` 5 %.
        samples: packets that were counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    direction: Way
    quantity: Quantity
    requested: float
    achieved: float | None
    tolerance: float
    samples: int
    ok: bool


class Calibration(BaseModel):
    """Whether a link is what it claims.

    Attributes:
        profile: name of the profile that is claimed.
        ok: whether it is: there are no reasons against it.
        reasons: a sentence for each row that is not ok, and for what could not be measured.
        links: what the links themselves say of the measurement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    ok: bool
    rows: tuple[CalibrationRow, ...]
    reasons: tuple[str, ...]
    links: LinkStatistics


def calibrate(
    network: ClientNetwork, profile: NetworkProfile, *, seed: int, seconds: float = 5.0, logs: Path
) -> Calibration:
    """Make links of this profile, and measure whether they are what it claims.

    Args:
        seconds: for how long packets are sent; making and ending it takes some 3 s more.
        logs: directory for the emulator's log.

    Raises:
        IrttMissing: there is no irtt.
        NoBackend, NoFreeAddress, LinkDied, CommandFailed: as `client_links`.
    """
    with client_links(network, profile, _CLIENTS, seed=seed, logs=logs) as group:
        return calibrate_links(group, network, profile, seconds=seconds)


def calibrate_links(
    group: LinkGroup, network: ClientNetwork, claimed: NetworkProfile, *, seconds: float = 5.0
) -> Calibration:
    """Measure links that are there already. Nothing else may use them meanwhile.

    Args:
        group: with three clients at least; six are used.
        claimed: what the links are said to be.

    Raises:
        ValueError: too few clients.
        IrttMissing: there is no irtt.
        LinkDied: the emulator ended.
    """
    if len(group.clients) < 3:
        raise ValueError(f"the group has {len(group.clients)} clients; allowed are 3 and more")
    *first, for_loss, for_capacity = group.clients[:_CLIENTS]
    with ExitStack() as stack:
        peer = stack.enter_context(client_namespace(network))
        to = stack.enter_context(irtt.server(peer))

        def measurement(at: ClientNamespace, interval_ms: float) -> irtt.Client:
            return stack.enter_context(
                irtt.client(at, to, interval_ms=interval_ms, seconds=seconds, answer_ms=_answer_ms(claimed))
            )

        delays = [measurement(at, sparse_interval_ms(claimed)) for at in first[:_DELAY_CLIENTS]]
        loss = measurement(for_loss, dense_interval_ms(claimed))
        capacities = _capacities(peer, for_capacity, claimed, min(seconds, _BURST_SECONDS))
        failures: list[str] = []
        measured = [found for found in (_result(each, failures) for each in delays) if found]
        lost = _result(loss, failures)
    group.assert_alive()
    rows = [
        *(row for way in _PORTS for row in delay_rows(way, _direction(claimed, way), measured)),
        *(loss_row(way, _direction(claimed, way), lost) for way in _PORTS),
        *capacity_rows(claimed, capacities),
    ]
    return judge(claimed, rows, failures, group.statistics())


def sparse_interval_ms(profile: NetworkProfile) -> float:
    """Between packets of which none can catch up with the one before. Pure."""
    return max(10.0, 2 * max(profile.down.jitter_ms, profile.up.jitter_ms) + 5)


def dense_interval_ms(profile: NetworkProfile) -> float:
    """Between packets that take a quarter of the lesser capacity, and are 500 a second at most. Pure."""
    capacities = [d.rate_kbps for d in (profile.down, profile.up) if d.rate_kbps is not None]
    least = min(capacities, default=10**9)
    return max(2.0, irtt.FRAME_BYTES * 8 / (least * _LOSS_SHARE_OF_CAPACITY))


def delay_rows(way: Way, claimed: Direction, measured: Sequence[irtt.Measured]) -> list[CalibrationRow]:
    """Delay and jitter of one direction. Pure.

    Order statistics and not means: a single wake-up that was late by 50 ms says nothing of the link.
    Of a delay uniform within ± J both the median and the distance of the quartiles have the standard
    error J/√n.
    """
    samples = [delay for each in measured for delay in (each.down_ms if way == "down" else each.up_ms)]
    error = _DEVIATIONS * claimed.jitter_ms / math.sqrt(len(samples)) if samples else 0.0
    low = max(0.0, claimed.delay_ms - claimed.jitter_ms / 2)
    spread = claimed.delay_ms + claimed.jitter_ms / 2 - low
    found: tuple[float | None, float | None] = (None, None)
    if len(samples) >= 4:
        lower, middle, upper = statistics.quantiles(samples, n=4)
        found = (middle, upper - lower)
    wanted: list[tuple[Quantity, float, float | None]] = [
        ("delay_ms", claimed.delay_ms, found[0]),
        ("jitter_ms", spread, found[1]),
    ]
    return [
        _row(
            way,
            quantity,
            requested,
            achieved,
            tolerance=_OWN_DELAY_MS + _RELATIVE_DELAY * requested + error,
            samples=len(samples),
        )
        for quantity, requested, achieved in wanted
    ]


def loss_row(way: Way, claimed: Direction, measured: irtt.Measured | None) -> CalibrationRow:
    """Loss of one direction: on the way up of what was sent, on the way down of what was answered. Pure."""
    sent, arrived = 0, 0
    if measured:
        up = way == "up"
        sent, arrived = (measured.sent, measured.served) if up else (measured.served, measured.returned)
    tolerance = _DEVIATIONS * claimed.loss.standard_error(sent) + (1 / sent if sent else 0.0)
    achieved = 100 * (1 - arrived / sent) if sent else None
    return _row(
        way, "loss_percent", 100 * claimed.loss.ratio, achieved, tolerance=100 * tolerance, samples=sent
    )


def capacity_rows(claimed: NetworkProfile, received: dict[Way, burst.Received]) -> Iterator[CalibrationRow]:
    """Capacity of the directions that have one. Pure."""
    for way in _PORTS:
        rate = _direction(claimed, way).rate_kbps
        if rate is not None:
            found = received[way]
            yield _row(
                way,
                "capacity_kbps",
                rate,
                found.kbps,
                tolerance=_RELATIVE_CAPACITY * rate,
                samples=found.frames,
            )


def lateness_limits_ms(claimed: NetworkProfile) -> tuple[float, float]:
    """How late the emulator may let packets go: the median one, and one of a hundred. Pure.

    The median by what calibration lets a delay be off. One of a hundred by the jitter more: then one that
    was due after the mean delay is let go when the profile's own jitter might have let it go at the latest.
    Lateness is known of both directions together, so the stricter one decides.
    """
    ways = (claimed.down, claimed.up)
    allowed = [_OWN_DELAY_MS + _RELATIVE_DELAY * way.delay_ms for way in ways]
    return min(allowed), min(each + way.jitter_ms for each, way in zip(allowed, ways, strict=True))


def judge(
    claimed: NetworkProfile, rows: Iterable[CalibrationRow], failures: Sequence[str], links: LinkStatistics
) -> Calibration:
    """The whole of it, with a reason for all that is not as claimed. Pure."""
    rows = tuple(rows)
    reasons = [
        f"profile {claimed.name}: {row.quantity} {row.direction} is {_number(row.achieved)}; "
        f"claimed is {row.requested:g} ± {row.tolerance:.2g}"
        for row in rows
        if not row.ok
    ]
    reasons += [f"profile {claimed.name}: {failure}" for failure in failures]
    return Calibration(profile=claimed.name, ok=not reasons, rows=rows, reasons=tuple(reasons), links=links)


def _row(
    way: Way, quantity: Quantity, requested: float, achieved: float | None, *, tolerance: float, samples: int
) -> CalibrationRow:
    return CalibrationRow(
        direction=way,
        quantity=quantity,
        requested=requested,
        achieved=achieved,
        tolerance=tolerance,
        samples=samples,
        ok=achieved is not None and abs(achieved - requested) <= tolerance,
    )


def _number(achieved: float | None) -> str:
    return "not known: nothing came through" if achieved is None else f"{achieved:.3g}"


def _direction(profile: NetworkProfile, way: Way) -> Direction:
    return profile.down if way == "down" else profile.up


def _answer_ms(profile: NetworkProfile) -> float:
    """How long an answer may take, also where the link has twice the delay and more."""
    return 300 + 3 * sum(each.delay_ms + each.jitter_ms for each in (profile.down, profile.up))


def _result(measurement: irtt.Client, failures: list[str]) -> irtt.Measured | None:
    try:
        return measurement.result()
    except irtt.Failed as error:
        failures.append(str(error))
        return None


def _capacities(
    peer: ClientNamespace, client: ClientNamespace, claimed: NetworkProfile, seconds: float
) -> dict[Way, burst.Received]:
    """Both directions at once, where they have a capacity."""
    ends: dict[Way, tuple[ClientNamespace, ClientNamespace]] = {"down": (peer, client), "up": (client, peer)}
    with ExitStack() as stack:
        receivers: dict[Way, subprocess.Popen[str]] = {}
        for way, (sender, receiver) in ends.items():
            rate = _direction(claimed, way).rate_kbps
            if rate is None:
                continue
            where = [str(receiver.address), str(_PORTS[way])]
            receivers[way] = stack.enter_context(_burst(receiver, ["receive", *where, f"{seconds:g}"]))
            kbps = round(rate * _OVERLOAD)
            stack.enter_context(_burst(sender, ["send", *where, str(kbps), f"{seconds:g}"]))
        return {
            way: burst.Received.model_validate_json(each.communicate()[0]) for way, each in receivers.items()
        }


@contextmanager
def _burst(at: ClientNamespace, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    argv = at.command([*irtt.SOON, sys.executable, "-m", "loadtest.net.burst", *arguments])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT) as process:
        try:
            if arguments[0] == "receive" and process.stdout is not None:
                process.stdout.readline()  # it listens
            yield process
        finally:
            process.kill()
