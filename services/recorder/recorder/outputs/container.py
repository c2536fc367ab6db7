"""A container file or connection that gets the packets of the shared encoders."""

from __future__ import annotations

from collections.abc import Mapping

import av

from recorder.media.encoders import EncodedPacket, Encoders
from recorder.outputs.server_file import ServerFile


class Container:
    """Writes packets into one file, or to one server.

    Args:
        to: a path, or a connection to a server, which stays open.
        format: FFmpeg's name of the format.
        options: options of the format.

    Raises:
        av.FFmpegError, OSError: it cannot be opened or written to; also `write` and `close` raise these.
    """

    def __init__(
        self,
        to: str | ServerFile,
        format: str,
        encoders: Encoders,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._container = av.open(to, "w", format=format, options=dict(options or {}))
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
