"""A key service that answers like Vault's transit engine, for a secrets provider other than a passphrase."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support.http_server import Server
from tests.support.serving import serving_in_thread

KEY = "stack"


@dataclass
class KeyService:
    """Attributes:
    requests: the requests in order: `encrypt` or `decrypt`.
    """

    url: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def key_service() -> Iterator[KeyService]:
    """Encrypts and decrypts by reversing the bytes: tests check only that this service is used."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            length = int(self.headers["Content-Length"])
            given = json.loads(self.rfile.read(length))
            *_, operation, key = self.path.split("/")
            assert key == KEY
            service.requests.append(operation)
            if operation == "encrypt":
                turned = base64.b64decode(given["plaintext"])[::-1]
                answer = {"ciphertext": f"vault:v1:{base64.b64encode(turned).decode()}"}
            else:
                turned = base64.b64decode(given["ciphertext"].rpartition(":")[2])[::-1]
                answer = {"plaintext": base64.b64encode(turned).decode()}
            body = json.dumps({"data": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT

        def log_message(self, *_: object) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    service = KeyService(f"http://127.0.0.1:{server.server_port}")
    with serving_in_thread(server):
        yield service
