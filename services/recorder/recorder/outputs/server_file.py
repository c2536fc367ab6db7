"""A server that PyAV writes to as to a file, by FFmpeg's network protocols.

PyAV can open an address itself. But it holds Python's lock while it connects, and an output has no timeout:
a server that does not answer would stop the whole process. Here FFmpeg's functions are called directly. They
run without the lock, and end when they take too long or when the connection is given up.

Facts: FFmpeg 8, `libavformat/avio.h`; PyAV 18, `av/container/output.py`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from av.error import err_check

_WRITE = 2
# FFmpeg asks it about every 0.1 s while it waits for the network, and gives up if the answer is not 0.
_IsOver = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class _Interrupt(ctypes.Structure):
    """AVIOInterruptCB."""

    _fields_ = (("callback", _IsOver), ("opaque", ctypes.c_void_p))


class _Context(ctypes.Structure):
    """The first fields of AVIOContext. Their order is the same in all versions of FFmpeg 8."""

    _fields_ = (
        ("av_class", ctypes.c_void_p),
        ("buffer", ctypes.c_void_p),
        ("buffer_size", ctypes.c_int),
        ("buf_ptr", ctypes.c_void_p),
        ("buf_end", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("read_packet", ctypes.c_void_p),
        ("write_packet", ctypes.c_void_p),
        ("seek", ctypes.c_void_p),
        ("pos", ctypes.c_int64),
        ("eof_reached", ctypes.c_int),
        ("error", ctypes.c_int),
    )


class ServerFile:
    """A connection to a server. One thread uses it.

    Args:
        url: the server's address.
        seconds: how long connecting and each write may take.
        is_abandoned: whether the connection is given up: then what waits ends at once, with an error.

    Raises:
        av.FFmpegError, OSError: the server cannot be reached, or does not answer in time; also `write`.
    """

    def __init__(self, url: str, seconds: float, is_abandoned: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._is_abandoned = is_abandoned
        self._deadline = 0.0
        # FFmpeg calls it until the connection is closed.
        self._is_over = _IsOver(self._asked)
        self._context = ctypes.POINTER(_Context)()
        interrupt = _Interrupt(self._is_over, None)
        self._deadline = time.monotonic() + seconds
        self._check(
            _library().avio_open2(
                ctypes.byref(self._context), url.encode(), _WRITE, ctypes.byref(interrupt), None
            )
        )

    @property
    def closed(self) -> bool:
        """PyAV writes nothing more into a file that is closed."""
        return not self._context

    def write(self, data: bytes) -> int:
        """Send all of `data`."""
        if self.closed:
            raise BrokenPipeError("the connection is closed")
        self._deadline = time.monotonic() + self._seconds
        _library().avio_write(self._context, data, len(data))
        _library().avio_flush(self._context)
        self._check(self._context.contents.error)
        return len(data)

    def close(self) -> None:
        """End the stream and close the socket. Does not wait for a server that did not answer before."""
        if not self.closed:
            failed = bool(self._context.contents.error)
            self._deadline = 0.0 if failed else time.monotonic() + self._seconds
            _library().avio_closep(ctypes.byref(self._context))

    def _asked(self, _: object) -> int:
        return int(self._is_abandoned() or time.monotonic() > self._deadline)

    def _check(self, result: int) -> None:
        if result < 0 and time.monotonic() > self._deadline:
            raise TimeoutError(f"the server did not answer within {self._seconds:g} s")
        err_check(result)


@cache
def _library() -> ctypes.CDLL:
    """The libavformat that PyAV has loaded, wherever it is."""
    loaded = Path("/proc/self/maps").read_text().splitlines()
    library = ctypes.CDLL(next(line.split(maxsplit=5)[5] for line in loaded if "/libavformat" in line))
    context = ctypes.POINTER(_Context)
    library.avio_open2.argtypes = (
        ctypes.POINTER(context),
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.POINTER(_Interrupt),
        ctypes.c_void_p,
    )
    library.avio_write.argtypes = (context, ctypes.c_char_p, ctypes.c_int)
    library.avio_write.restype = None
    library.avio_flush.argtypes = (context,)
    library.avio_flush.restype = None
    library.avio_closep.argtypes = (ctypes.POINTER(context),)
    return library
