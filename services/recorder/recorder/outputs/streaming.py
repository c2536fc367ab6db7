"""The RTMP servers of one egress, and what LiveKit is told of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.errors import Code, EgressError
from recorder.media.encoders import Encoders
from recorder.media.pipeline import Pipeline
from recorder.outputs.stream import StreamEvent, StreamSink
from recorder.requests.outputs import StreamOutput, StreamTarget, stream_target

# Retries are reported at most this often.
_RETRY_REPORT_SECONDS = 60.0


class Streaming:
    """Feeds servers, and keeps their results in the egress' info. Used from the event loop.

    Args:
        changed: called when a result has changed.
        ended: called when no server is left, with the last one's error ("" if it was removed).
    """

    def __init__(
        self,
        *,
        output: StreamOutput,
        encoders: Encoders,
        pipeline: Pipeline,
        info: proto.EgressInfo,
        changed: Callable[[], None],
        ended: Callable[[str], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._encoders = encoders
        self._pipeline = pipeline
        self._info = info
        self._changed = changed
        self._ended = ended
        self._loop = loop
        self._sinks: dict[str, StreamSink] = {}
        self._results: dict[str, proto.StreamInfo] = {}
        self._retry_reported_at = 0.0
        for number, target in enumerate(output.targets):
            self._open(target, info.stream_results[number])

    def update(self, add: list[str], remove: list[str]) -> None:
        """Add and remove servers; valid ones also if others are not. Raises EgressError with all mistakes."""
        mistakes = []
        for url in add:
            try:
                target = stream_target(url)
                if url in self._sinks:
                    raise EgressError(Code.ALREADY_EXISTS, f"stream {target.redacted} exists already")
                self._open(target, infos.add_stream(self._info, target))
            except EgressError as error:
                mistakes.append(error)
        for url in remove:
            if url not in self._sinks:
                text = f"stream {StreamTarget(url).redacted} not found"
                mistakes.append(EgressError(Code.NOT_FOUND, text))
            else:
                self._finish(url, "")
        self._changed()
        if mistakes:
            raise EgressError(mistakes[0].code, "\n".join(str(mistake) for mistake in mistakes))

    def close(self) -> None:
        """End all streams. Blocks some seconds at most."""
        for sink in self._sinks.values():
            sink.close()

    def _open(self, target: StreamTarget, result: proto.StreamInfo) -> None:
        sink = StreamSink(target, self._encoders, self._notify)
        self._sinks[target.url], self._results[target.url] = sink, result
        self._pipeline.add(target.url, sink)

    def _notify(self, target: StreamTarget, event: StreamEvent, text: str) -> None:
        """Called from a stream's thread."""
        self._loop.call_soon_threadsafe(self._on_event, target.url, event, text)

    def _on_event(self, url: str, event: StreamEvent, text: str) -> None:
        result = self._results.get(url)
        if result is None or url not in self._sinks:
            return
        match event:
            case StreamEvent.STARTED:
                result.started_at = time.time_ns()
                self._changed()
            case StreamEvent.RETRIED:
                result.retries += 1
                result.last_retry_at = time.time_ns()
                if time.monotonic() - self._retry_reported_at > _RETRY_REPORT_SECONDS:
                    self._retry_reported_at = time.monotonic()
                    self._changed()
            case StreamEvent.FAILED:
                self._finish(url, text)
                self._changed()

    def _finish(self, url: str, error: str) -> None:
        sink = self._sinks.pop(url)
        self._pipeline.remove(url)
        infos.end_stream(self._results[url], time.time_ns(), error)
        self._loop.run_in_executor(None, sink.close)
        if not self._sinks:
            self._ended(error)
