"""What coturn reports, in its own words, as values. Pure.

coturn (`redis-statsdb`, its `turndb/schema.stats.redis`) keeps a key for each allocation that there is, and
publishes what happens to it:

    turn/realm/<realm>/user/<user>/allocation/<id>/status          new lifetime=600, type=UDP, local=...
    turn/realm/<realm>/user/<user>/allocation/<id>/traffic         rcvp=4, rcvb=520, sentp=4, sentb=416
    turn/realm/<realm>/user/<user>/allocation/<id>/traffic/peer    the same, of the other side

Traffic is what came since the report before: one for every 4096 packets of an allocation, and one at its end.
`total_traffic` says the sum of them once more, and is left out. Who the user is, nobody here keeps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# The keys of allocations, as Redis matches names.
ALLOCATION_KEYS = "turn/*/allocation/*/status"
# What is published of them.
CHANNELS = "turn/*"

_CHANNEL = re.compile(r"turn/.*/allocation/\d+/(?P<subject>status|traffic|traffic/peer)")
_STATUS = re.compile(r"(?P<status>new|refreshed) lifetime=\d+, type=(?P<type>[^,]+),.*")
_TRAFFIC = re.compile(r"rcvp=(\d+), rcvb=(\d+), sentp=(\d+), sentb=(\d+)")


class Transport(StrEnum):
    """How a client speaks to the server."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class Side(StrEnum):
    """On which side of the server packets were counted."""

    CLIENT = "client"
    PEER = "peer"


# coturn's own words.
_TRANSPORTS = {"UDP": Transport.UDP, "TCP": Transport.TCP, "TLS/TCP": Transport.TLS}


@dataclass(frozen=True)
class Created:
    """A client has a new allocation."""

    transport: Transport


@dataclass(frozen=True)
class Relayed:
    """What the server received from, and sent to, one side of an allocation since its last report."""

    side: Side
    received_packets: int
    received_bytes: int
    sent_packets: int
    sent_bytes: int


class NotUnderstood(ValueError):
    """A report in other words than those of the coturn that this was written for."""


def report(channel: str, message: str) -> Created | Relayed | None:
    """What was published; None where it says nothing that is counted.

    Raises:
        NotUnderstood: it is about something that is counted, and cannot be read.
    """
    matched = _CHANNEL.fullmatch(channel)
    if matched is None or message == "deleted":
        return None
    if matched["subject"] == "status":
        status, transport = _status(message)
        return Created(transport) if status == "new" else None
    return _relayed(Side.PEER if matched["subject"].endswith("peer") else Side.CLIENT, message)


def transport_of(status: str) -> Transport:
    """Of the allocation whose key has this value.

    Raises:
        NotUnderstood: it does not say.
    """
    return _status(status)[1]


def _status(message: str) -> tuple[str, Transport]:
    matched = _STATUS.fullmatch(message)
    if matched is None or matched["type"] not in _TRANSPORTS:
        raise NotUnderstood(f"not the status of an allocation: {message!r}")
    return matched["status"], _TRANSPORTS[matched["type"]]


def _relayed(side: Side, message: str) -> Relayed:
    matched = _TRAFFIC.fullmatch(message)
    if matched is None:
        raise NotUnderstood(f"not the traffic of an allocation: {message!r}")
    return Relayed(side, *map(int, matched.groups()))
