"""A container file or connection that gets the packets of the shared encoders."""

from __future__ import annotations

from collections.abc import Mapping

import av

from recorder.media.encoders import EncodedPacket, Encoders


class Container:
    """Writes packets into one file, or to one server.

    Args:
        url: a path, or an address of a server.
        format: FFmpeg's name of the format.
        options: options of the format.
        io_seconds: how long opening and one write to a server may take.

    Raises:
        av.FFmpegError, OSError: it cannot be opened or written to; also `write` and `close` raise these.
    """

    def __init__(
        self,
        url: str,
        format: str,
        encoders: Encoders,
        options: Mapping[str, str] | None = None,
        *,
        io_seconds: float | None = None,
    ) -> None:
        timeout = (io_seconds, io_seconds) if io_seconds is not None else None
        self._container = av.open(url, "w", format=format, options=dict(options or {}), timeout=timeout)
        self._video = self._audio = None
        if encoders.video is not None:
            self._video = self._container.add_stream_from_template(encoders.video.stream)
        if encoders.audio is not None:
            self._audio = self._container.add_stream_from_template(encoders.audio.stream)
        self._container.start_encoding()

    def write(self, packet: EncodedPacket, *, shift: float = 0.0) -> None:
        """Write a packet, `shift` seconds earlier than its time."""
        stream = self._video if packet.is_video else self._audio
        if stream is None:
            return
        ticks = round(shift / packet.time_base)
        copy = av.Packet(packet.data)
        copy.time_base = packet.time_base
        copy.pts, copy.dts, copy.duration = packet.pts - ticks, packet.dts - ticks, packet.duration
        copy.is_keyframe = packet.is_key
        copy.stream = stream
        self._container.mux_one(copy)

    def close(self) -> None:
        """Write the trailer."""
        self._container.close()
