"""Connections to RTMP servers that do not answer, or that stop reading."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.waiting import wait_until
from recorder.media.encoders import EncodedPacket, Encoders
from recorder.outputs.stream import StreamEvent, StreamSink
from recorder.requests.outputs import StreamTarget
from tests.recorder.rtmp_server import rtmp_server
from tests.support.speed import scaled
from tests.unit.recorder.outputs.encoded import new_encoders, packets

_ESTABLISHED = "01"
# With it, a few hundred packets fill the buffers between two processes.
_PADDING = b"\xff" * 30_000


def _threads() -> int:
    return sum(thread.name == "rtmp" for thread in threading.enumerate())


def _connections(port: int) -> int:
    """How many connections to this port are open in this process."""
    own = {link for link in map(_target, Path("/proc/self/fd").iterdir()) if link.startswith("socket:")}
    count = 0
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        remote, state, inode = columns[2], columns[3], columns[9]
        count += remote.endswith(f":{port:04X}") and state == _ESTABLISHED and f"socket:[{inode}]" in own
    return count


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""


class _Events:
    def __init__(self) -> None:
        self.told: list[tuple[StreamEvent, str]] = []

    def __call__(self, _target: StreamTarget, event: StreamEvent, text: str) -> None:
        self.told.append((event, text))

    def has(self, wanted: StreamEvent) -> bool:
        return any(event is wanted for event, _ in self.told)


def _stream(encoders: Encoders) -> Iterator[EncodedPacket]:
    """A long stream with large packets. Each key frame is followed by another one after two seconds."""
    for packet in packets(encoders, 600):
        yield replace(packet, data=packet.data + _PADDING) if packet.is_video else packet


def _until(condition: Callable[[], object], describe: str) -> None:
    wait_until(condition, timeout=scaled(20), describe=describe, interval=0.05)


def test_a_server_that_never_answers_stops_nothing_and_is_left() -> None:
    events = _Events()
    encoders = new_encoders()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"rtmp://127.0.0.1:{port}/live/some-secret-key"
        sink = StreamSink(StreamTarget(url), encoders, events, io_seconds=1.0)
        stream = _stream(encoders)
        began = time.monotonic()
        while not events.has(StreamEvent.RETRIED):
            sink.write(next(stream))
            time.sleep(0.01)
            assert time.monotonic() - began < scaled(10)
        assert events.told == [(StreamEvent.RETRIED, "the server did not answer within 1 s")]
        _until(lambda: _threads() == 0 or _connections(port) == 1, "the first connection to end")
        sink.close(0.2)
        _until(lambda: (_threads(), _connections(port)) == (0, 0), "the last connection to end")


@pytest.mark.parametrize("io_seconds", [1.0, 60.0], ids=["a write takes too long", "too much waits"])
def test_a_server_that_stops_reading_gets_one_new_connection(tmp_path: Path, io_seconds: float) -> None:
    events = _Events()
    encoders = new_encoders()
    with rtmp_server(tmp_path) as server:
        process = int((tmp_path / "nginx.pid").read_text())
        target = StreamTarget(server.url("key-of-a-stream"))
        sink = StreamSink(target, encoders, events, io_seconds=io_seconds)
        stream = _stream(encoders)

        def send_until(condition: Callable[[], object], describe: str) -> None:
            def send() -> object:
                for _ in range(5):
                    sink.write(next(stream))
                return condition()

            wait_until(send, timeout=scaled(30), describe=describe, interval=0.01)

        send_until(lambda: events.has(StreamEvent.STARTED), "the stream to begin")
        os.kill(process, signal.SIGSTOP)
        try:
            send_until(lambda: events.has(StreamEvent.RETRIED), "the connection to be left")
        finally:
            os.kill(process, signal.SIGCONT)
        send_until(lambda: len(server.files("key-of-a-stream")) == 2, "the stream to come again")
        assert (_threads(), _connections(server.port)) == (1, 1)
        sink.close()
        assert (_threads(), _connections(server.port)) == (0, 0)


def test_the_end_of_a_stream_does_not_wait_for_a_server_that_stopped_reading(tmp_path: Path) -> None:
    events = _Events()
    encoders = new_encoders()
    with rtmp_server(tmp_path) as server:
        process = int((tmp_path / "nginx.pid").read_text())
        sink = StreamSink(StreamTarget(server.url("key-of-a-stream")), encoders, events, io_seconds=60.0)
        stream = _stream(encoders)
        os.kill(process, signal.SIGSTOP)
        try:
            for _ in range(500):
                sink.write(next(stream))
            began = time.monotonic()
            sink.close(0.5)
            assert time.monotonic() - began < scaled(2)
            assert (_threads(), _connections(server.port)) == (0, 0)
        finally:
            os.kill(process, signal.SIGCONT)
