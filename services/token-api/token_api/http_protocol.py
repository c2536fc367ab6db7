"""uvicorn's HTTP over llhttp, with two things that h11 does by itself and llhttp leaves to others.

llhttp is C, and h11 Python: reading a request by h11 costs as much as minting a token.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Of a request line with its headers, of trailers, and of a chunk's head: h11's own limit.
MAX_HEAD_BYTES = 64 * 1024


class HttpProtocol(HttpToolsProtocol):
    """Bounds how much of a request's head it holds, and leaves trailers out."""

    # Received since the parser last had something for us.
    _unread_bytes = 0
    _in_head = False

    def data_received(self, data: bytes) -> None:
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"A request's head may have {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here too, and no proxy has judged them: they must not pass for headers.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unread_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread_bytes = 0
        super().on_message_complete()
