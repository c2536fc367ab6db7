"""RTMP: the recording sent to a server while it is made.

Each server has a thread and a queue of its own, so that a slow one delays neither files nor other servers.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from enum import Enum

import structlog
from av.error import FFmpegError

from recorder.media.encoders import EncodedPacket, Encoders
from recorder.outputs.container import Container
from recorder.outputs.server_file import ServerFile
from recorder.requests.outputs import StreamTarget

# About ten seconds of packets. A server that is slower than this is left and joined anew.
_MOST_WAITING = 1000
# How long connecting and one write may take.
_IO_SECONDS = 10.0
# How long a connection that is given up may take to end.
_ABANDON_SECONDS = 1.0
_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 8.0
# A server that cannot be reached for so long gets no more, as with livekit/egress.
_GIVE_UP_SECONDS = 30.0

log = structlog.get_logger()


class StreamEvent(Enum):
    """What happens to a stream."""

    STARTED = "started"
    RETRIED = "retried"
    FAILED = "failed"


# Called from the stream's thread, with the error's text if there is one.
Notify = Callable[[StreamTarget, StreamEvent, str], None]


class StreamSink:
    """Sends packets to one RTMP server until it is closed, or the server is given up."""

    def __init__(
        self,
        target: StreamTarget,
        encoders: Encoders,
        notify: Notify,
        *,
        io_seconds: float = _IO_SECONDS,
    ) -> None:
        self._target = target
        self._io_seconds = io_seconds
        self._encoders = encoders
        self._notify = notify
        self._lock = threading.RLock()
        self._connection: _Connection | None = None
        self._started = self._failed = False
        self._delay = _FIRST_RETRY_SECONDS
        self._next_try = 0.0
        self._sent_at = time.monotonic()

    def write(self, packet: EncodedPacket) -> None:
        """Queue a packet. Never waits: while the server is away, packets are left out."""
        with self._lock:
            if self._failed:
                return
            if self._connection is None:
                if time.monotonic() < self._next_try:
                    return
                self._connection = _Connection(
                    self._target.url, self._io_seconds, self._encoders, self.sent, self.lost
                )
            if not self._connection.offer(packet):
                self.lost(self._connection, "the server takes the stream too slowly")

    def close(self, seconds: float = 5.0) -> None:
        """Send what is queued and end the stream, within `seconds`."""
        with self._lock:
            connection, self._connection, self._failed = self._connection, None, True
        if connection is not None:
            connection.close(seconds)

    def sent(self, connection: _Connection) -> None:
        """A connection has sent a packet."""
        with self._lock:
            if connection is not self._connection:
                return
            self._sent_at = time.monotonic()
            self._delay = _FIRST_RETRY_SECONDS
            if not self._started:
                self._started = True
                self._notify(self._target, StreamEvent.STARTED, "")

    def lost(self, connection: _Connection, text: str) -> None:
        """A connection failed: end it, and try again some time later, or give up."""
        connection.abandon()
        text = text.replace(self._target.url, self._target.redacted)
        with self._lock:
            if connection is not self._connection:
                return
            self._connection = None
            now = time.monotonic()
            self._failed = now - self._sent_at > _GIVE_UP_SECONDS
            self._next_try, self._delay = now + self._delay, min(2 * self._delay, _LAST_RETRY_SECONDS)
            log.warning("stream_lost", url=self._target.redacted, error=text, given_up=self._failed)
            self._notify(self._target, StreamEvent.FAILED if self._failed else StreamEvent.RETRIED, text)


class _Connection:
    """One connection to a server, with a thread and a queue."""

    def __init__(
        self,
        url: str,
        io_seconds: float,
        encoders: Encoders,
        sent: Callable[[_Connection], None],
        lost: Callable[[_Connection, str], None],
    ) -> None:
        self._url = url
        self._io_seconds = io_seconds
        self._encoders = encoders
        self._sent = sent
        self._lost = lost
        self._packets: queue.Queue[EncodedPacket | None] = queue.Queue(_MOST_WAITING)
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtmp", daemon=True)
        self._thread.start()

    def offer(self, packet: EncodedPacket) -> bool:
        """Queue a packet; False if the queue is full."""
        try:
            self._packets.put_nowait(packet)
        except queue.Full:
            return False
        return True

    def close(self, seconds: float) -> None:
        """Send what is queued, then close, within `seconds`. What takes longer is not sent."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(queue.Full):
            self._packets.put(None, timeout=seconds)
            self._thread.join(max(deadline - time.monotonic(), 0))
        self.abandon()
        self._thread.join(_ABANDON_SECONDS)

    def abandon(self) -> None:
        """Send nothing more and close the connection. Does not wait for that."""
        self._abandoned.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._packets.get_nowait()
        # The producer has stopped, so the queue has room for it.
        self._packets.put_nowait(None)

    def _run(self) -> None:
        try:
            self._send()
        except (FFmpegError, OSError) as error:
            self._lost(self, str(error))

    def _send(self) -> None:
        """Send packets until the end. The socket is closed when this returns or raises."""
        server: ServerFile | None = None
        container: Container | None = None
        begin = 0.0
        try:
            while (packet := self._packets.get()) is not None and not self._abandoned.is_set():
                if container is None:
                    if not self._can_begin_with(packet):
                        continue
                    server = ServerFile(self._url, self._io_seconds, self._abandoned.is_set)
                    container = Container(server, "flv", self._encoders)
                    begin = packet.time
                if packet.time >= begin:
                    container.write(packet, shift=begin)
                    self._sent(self)
            if container is not None and not self._abandoned.is_set():
                container.close()
        finally:
            if server is not None:
                server.close()

    def _can_begin_with(self, packet: EncodedPacket) -> bool:
        """A player can show nothing before a key frame."""
        return packet.is_key and (packet.is_video or self._encoders.video is None)
