"""The kernel's packet queue (NFQUEUE) over a plain netlink socket: messages as bytes, and the socket.

From linux/netfilter/nfnetlink_queue.h and nfnetlink.h. Headers are in the machine's byte order, the
queue's own values in network order. Only metadata is asked for: the packets stay in the kernel.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5
_SO_RCVBUFFORCE = 33

_SUBSYSTEM = 3 << 8
_PACKET, _VERDICT, _CONFIG = _SUBSYSTEM | 0, _SUBSYSTEM | 1, _SUBSYSTEM | 2
_ERROR = 2
_REQUEST, _ACKNOWLEDGE = 1, 4

_CFG_CMD, _CFG_PARAMS, _CFG_QUEUE_MAXLEN = 1, 2, 3
_COMMAND_BIND = 1
_COPY_META = 1
_PACKET_HEADER, _VERDICT_HEADER, _TIMESTAMP, _INDEV = 1, 2, 4, 5
_DROP, _ACCEPT = 0, 1

_HEADER = struct.Struct(
    "=IHHIIBBH"
)  # nlmsghdr (length, type, flags, sequence, port), nfgenmsg (family, version, …)
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_CODE = struct.Struct("=i")
_VERDICT_BODY = struct.Struct(">II")
_ID = struct.Struct(">I")
_SECONDS_MICROSECONDS = struct.Struct(">QQ")
_VERDICT_BYTES = _HEADER.size + _ATTRIBUTE.size + _VERDICT_BODY.size

# A packet's metadata is some 120 bytes, and the kernel charges about a kilobyte for it: 16000 packets.
_RECEIVE_BUFFER = 16 * 1024 * 1024
_VERDICTS_AT_ONCE = 1024  # 36 kB, well within the socket's send buffer
_STATISTICS = Path("/proc/self/net/netfilter/nfnetlink_queue")


@dataclass(frozen=True)
class Packet:
    """A packet that waits in the kernel for a verdict.

    Attributes:
        number: its id within the queue.
        device: index of the device by which it came.
        stamp_ns: when it came, of CLOCK_REALTIME; None where the kernel keeps no time stamps.
    """

    number: int
    device: int
    stamp_ns: int | None


@dataclass(frozen=True)
class QueueCounters:
    """A queue's line in /proc/net/netfilter/nfnetlink_queue.

    Attributes:
        waiting: packets that wait for a verdict.
        overruns: packets that were dropped because the queue, or the socket's buffer, was full.
    """

    waiting: int
    overruns: int


def bind(queue: int) -> bytes:
    """Whoever sends this gives the verdicts. There is no fail-open flag: with nobody, no packet passes."""
    return _configuration(queue, _CFG_CMD, struct.pack(">BBH", _COMMAND_BIND, 0, socket.AF_INET))


def copy_metadata(queue: int) -> bytes:
    """No byte of the packets themselves."""
    return _configuration(queue, _CFG_PARAMS, struct.pack(">IB", 0, _COPY_META))


def maximum_length(queue: int, packets: int) -> bytes:
    """How many packets may wait; more are dropped."""
    return _configuration(queue, _CFG_QUEUE_MAXLEN, struct.pack(">I", packets))


def verdict(queue: int, packet: int, *, accept: bool) -> bytes:
    """Let a packet go on, or drop it. Several may be sent at once, one after the other."""
    header = _HEADER.pack(_VERDICT_BYTES, _VERDICT, _REQUEST, 0, 0, socket.AF_INET, 0, socket.htons(queue))
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + _VERDICT_BODY.size, _VERDICT_HEADER)
    return header + attribute + _VERDICT_BODY.pack(_ACCEPT if accept else _DROP, packet)


def packets(datagram: bytes) -> Iterator[Packet]:
    """The packets that a datagram of the kernel announces.

    Raises:
        OSError: the kernel refused what it was told before.
    """
    start = 0
    while start + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, start)
        if kind == _PACKET:
            yield _packet(datagram, start + _HEADER.size, start + length)
        elif kind == _ERROR:
            _raise_error(datagram)
        start += (length + 3) & ~3


def counters(text: str, queue: int) -> QueueCounters:
    """One queue's counters from the text of /proc/net/netfilter/nfnetlink_queue.

    Columns: number, port of the listener, waiting, copy mode, copy range, dropped by the full queue,
    dropped by the full socket, last id, 1.
    """
    for line in text.splitlines():
        fields = [int(field) for field in line.split()]
        if fields[0] == queue:
            return QueueCounters(waiting=fields[2], overruns=fields[5] + fields[6])
    return QueueCounters(waiting=0, overruns=0)


class Queue:
    """The listener of one queue, in the network namespace of this process."""

    def __init__(self, number: int, *, length: int) -> None:
        """Bind to it.

        Raises:
            OSError: not root, a kernel without NFQUEUE, or somebody else listens.
        """
        self._number = number
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        # What does not fit is counted by the kernel (`counters`), and need not be an error here, too.
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        self._socket.bind((0, 0))
        for message in (bind(number), copy_metadata(number), maximum_length(number, length)):
            self._socket.send(message)
            _raise_error(self._socket.recv(4096))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Packet]:
        """What has come since the last time; empty where nothing has.

        Raises:
            OSError: the kernel refused a verdict.
        """
        try:
            return list(packets(self._socket.recv(65536)))
        except BlockingIOError:
            return []

    def decide(self, decided: Iterable[int], *, accept: bool) -> None:
        """Give the verdict on these packets."""
        messages = [verdict(self._number, packet, accept=accept) for packet in decided]
        for start in range(0, len(messages), _VERDICTS_AT_ONCE):
            self._socket.send(b"".join(messages[start : start + _VERDICTS_AT_ONCE]))

    def counters(self) -> QueueCounters:
        return counters(_STATISTICS.read_text(), self._number)


def _configuration(queue: int, attribute: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    body = _ATTRIBUTE.pack(length, attribute) + value + bytes(-length % 4)
    flags = _REQUEST | _ACKNOWLEDGE
    return (
        _HEADER.pack(_HEADER.size + len(body), _CONFIG, flags, 0, 0, socket.AF_UNSPEC, 0, socket.htons(queue))
        + body
    )


def _packet(datagram: bytes, start: int, end: int) -> Packet:
    number, device, stamp_ns = 0, 0, None
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(datagram, start)
        value = start + _ATTRIBUTE.size
        if kind == _PACKET_HEADER:
            (number,) = _ID.unpack_from(datagram, value)
        elif kind == _INDEV:
            (device,) = _ID.unpack_from(datagram, value)
        elif kind == _TIMESTAMP:
            seconds, microseconds = _SECONDS_MICROSECONDS.unpack_from(datagram, value)
            stamp_ns = seconds * 1_000_000_000 + microseconds * 1000
        start += (length + 3) & ~3 or _ATTRIBUTE.size
    return Packet(number, device, stamp_ns)


def _raise_error(datagram: bytes) -> None:
    """Netlink's answer: 0, or an error number below 0."""
    (code,) = _ERROR_CODE.unpack_from(datagram, 16)
    if code:
        raise OSError(-code, f"the kernel's packet queue: {os.strerror(-code)}")
