"""Datagrams faster than a link can take them, and how many come out: `python -m loadtest.net.burst …`.

    send <address> <port> <kbit/s> <seconds>
    receive <address> <port> <seconds>

The receiver says `ready`, and at its end a `Received` as JSON. Bytes are those of Ethernet frames, as
the kernel's bottleneck counts them.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from contextlib import suppress

from pydantic import BaseModel, ConfigDict

READY = "ready"
_PAYLOAD_BYTES = 1200
_HEADER_BYTES = 14 + 20 + 8  # Ethernet, IPv4, UDP
# Until its queue has something at all times, a link gives less than its capacity.
_SETTLING_SECONDS = 0.5
_FIRST_SECONDS = 15.0  # for the first datagram: the sender's program has to start
_SILENCE_SECONDS = 1.0  # after the last
_SEND_INTERVAL_SECONDS = 0.002
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_BUFFER_BYTES = 8 * 2**20
_TIMESPEC = struct.Struct("@qq")


class Received(BaseModel):
    """What came after the settling.

    Attributes:
        frames: how many.
        frame_bytes: all but the first one's, with their headers.
        seconds: from the first to the last.
    """

    model_config = ConfigDict(frozen=True)

    frames: int
    frame_bytes: int
    seconds: float

    @property
    def kbps(self) -> float | None:
        """Kilobits a second; None where too few came."""
        return self.frame_bytes * 8 / 1000 / self.seconds if self.frames > 2 and self.seconds > 0 else None


def send(address: str, port: int, kbps: int, seconds: float) -> None:
    """Send at this rate for this time, or until the receiver has enough and closes its socket.

    Datagrams that the machine cannot send in this time are skipped.
    """
    payload = bytes(_PAYLOAD_BYTES)
    per_second = kbps * 1000 / 8 / (_PAYLOAD_BYTES + _HEADER_BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        started = time.monotonic()
        sent = 0
        with suppress(ConnectionRefusedError):
            while (passed := time.monotonic() - started) < seconds:
                while sent < passed * per_second:
                    sender.send(payload)
                    sent += 1
                time.sleep(_SEND_INTERVAL_SECONDS)


def receive(address: str, port: int, seconds: float) -> Received:
    """Count the datagrams of this many seconds after the first one, without the settling time.

    The kernel stamps each datagram and keeps it in a large buffer. So the result is correct even if this
    process gets no processor time for a moment.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        receiver.bind((address, port))
        print(READY, flush=True)
        receiver.settimeout(_FIRST_SECONDS)
        begin = last = 0.0
        frames = frame_bytes = 0
        first: float | None = None
        try:
            while first is None or last - first < seconds:
                datagram, stamps, _, _ = receiver.recvmsg(2048, socket.CMSG_SPACE(_TIMESPEC.size))
                last = _seconds_of(stamps)
                if first is None:
                    first = last
                    receiver.settimeout(_SILENCE_SECONDS)
                if last - first < _SETTLING_SECONDS:
                    continue
                frames += 1
                if frames == 1:
                    begin = last
                else:
                    frame_bytes += len(datagram) + _HEADER_BYTES
        except TimeoutError:
            pass  # it is over, or nothing comes through at all
    return Received(frames=frames, frame_bytes=frame_bytes, seconds=last - begin)


def _seconds_of(stamps: list[tuple[int, int, bytes]]) -> float:
    """When the kernel received a datagram, in seconds of its clock."""
    [(_, _, stamp)] = stamps
    seconds, nanoseconds = _TIMESPEC.unpack(stamp)
    return float(seconds + nanoseconds / 1e9)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["send", address, port, kbps, seconds]:
            send(address, int(port), int(kbps), float(seconds))
        case ["receive", address, port, seconds]:
            print(receive(address, int(port), float(seconds)).model_dump_json())
        case _:
            sys.exit(f"arguments are {arguments}; allowed are `send …` and `receive …`:\n{__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
