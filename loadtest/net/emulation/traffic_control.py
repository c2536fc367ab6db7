"""A device's queueing disciplines as lines for `tc -batch -`, and the counters that tc shows. Pure."""

from __future__ import annotations

import json

from loadtest.definition.profile import Direction, Loss, NetworkProfile

_FULL_PACKET_BYTES = 1514
# Held packets are those within delay + jitter: this is 65536 in half a second, over a gigabit/s.
_NETEM_LIMIT = 65536
# netem keeps packets in order where it has a rate; this one adds 0.01 µs to a packet.
_NETEM_RATE_FOR_ORDER = "1000gbit"


def bottleneck(device: str, direction: Direction, *, below_netem: bool) -> list[str]:
    """The drop-tail bottleneck of a direction: made, or changed to this capacity with what waits in it.

    Args:
        below_netem: whether the device has netem at its root, and the bottleneck under that.
    """
    if direction.rate_kbps is None:
        return []
    # The bucket holds a millisecond's worth: finer than that the kernel's timer need not be.
    burst = max(2 * _FULL_PACKET_BYTES, direction.rate_kbps // 8)
    where = "parent 1:1 handle 10:" if below_netem else "root handle 10:"
    return [
        f"qdisc replace dev {device} {where} tbf rate {direction.rate_kbps}kbit burst {burst} "
        f"latency {direction.queue_ms:g}ms"
    ]


def netem(device: str, direction: Direction, *, reorder: bool, seed: int | None) -> list[str]:
    """Delay, jitter and loss of a direction by netem.

    Args:
        seed: of netem's random numbers; None where this tc or kernel knows no seed (before 6.6).
    """
    words = [f"qdisc replace dev {device} root handle 1: netem limit {_NETEM_LIMIT}"]
    if direction.delay_ms or direction.jitter_ms:
        words.append(f"delay {direction.delay_ms:g}ms {direction.jitter_ms:g}ms")
    if direction.loss.ratio:
        words.append(_netem_loss(direction.loss))
    if not reorder:
        words.append(f"rate {_NETEM_RATE_FOR_ORDER}")
    if seed is not None:
        words.append(f"seed {seed}")
    return [" ".join(words)]


def netem_link(
    down_device: str, up_device: str, profile: NetworkProfile, *, down_seed: int | None, up_seed: int | None
) -> list[str]:
    """A whole link by netem: what leaves by each device is delayed, then meets the bottleneck."""
    lines = []
    for device, direction, seed in (
        (down_device, profile.down, down_seed),
        (up_device, profile.up, up_seed),
    ):
        lines += netem(device, direction, reorder=profile.reorder, seed=seed)
        lines += bottleneck(device, direction, below_netem=True)
    return lines


def drops(text: str) -> dict[str, int]:
    """Packets that each discipline dropped, by its kind, from `tc -s -j qdisc show dev …`.

    netem's own number holds those of the discipline below it; here it does not.
    """
    by_kind: dict[str, int] = {}
    for discipline in json.loads(text):
        kind = discipline["kind"]
        by_kind[kind] = by_kind.get(kind, 0) + int(discipline["drops"])
    if "netem" in by_kind:
        by_kind["netem"] = max(0, by_kind["netem"] - by_kind.get("tbf", 0))
    return by_kind


def _netem_loss(loss: Loss) -> str:
    if not loss.good_to_bad:
        return f"loss random {loss.lost_in_good:.6%}"
    parameters = (loss.good_to_bad, loss.bad_to_good, loss.lost_in_bad, loss.lost_in_good)
    return "loss gemodel " + " ".join(f"{parameter:.6%}" for parameter in parameters)
