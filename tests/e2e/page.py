"""The page by which a browser takes part in a call, on an origin of the stack's own domain."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page
from pydantic import TypeAdapter

from common.commands import run
from common.waiting import wait_until
from loadtest.client.path import TransportPath
from loadtest.targets.tokens import Admission
from tests.e2e.chromium import program

_SOURCES = Path(__file__).parent / "browser"
_EMPTY = "<!doctype html><title>One end of a call</title>"
_LIBRARY = "node_modules/livekit-client/dist/livekit-client.umd.js"
_INSTALL_SECONDS = 300.0
_JOIN_SECONDS = 45.0
_paths_adapter = TypeAdapter(tuple[TransportPath, ...])


class CallPage:
    """One end of a call, in a page. `call_page` opens one."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def join(self, admission: Admission, transport: Literal["all", "relay"]) -> None:
        """Join, and send the (fake) camera and microphone.

        Raises:
            playwright.sync_api.Error: with the browser's words, where that fails.
        """
        self.enter(admission, transport)
        self.publish()

    def enter(self, admission: Admission, transport: Literal["all", "relay"]) -> None:
        """Join, and send nothing.

        Raises:
            playwright.sync_api.Error: with the browser's words, where that fails.
        """
        given = [admission.url, admission.token.get_secret_value(), transport]
        self._page.evaluate("([url, token, transport]) => enter(url, token, transport)", given)

    def publish(self) -> None:
        """Send the (fake) camera and microphone.

        Raises:
            playwright.sync_api.Error: with the browser's words, where that fails.
        """
        self._page.evaluate("publish()")

    def restart(self, scenario: Literal["signal-reconnect", "full-reconnect"]) -> None:
        """Resume the connection with an ICE restart, or join anew, and wait until it is back."""
        self._page.evaluate("(scenario) => restart(scenario)", scenario)

    def wait_for_frames(self, count: int, *, timeout: float) -> int:
        """How many pictures of others it has decoded, once there are so many.

        Raises:
            NeverHappened: they did not come within `timeout` seconds.
        """

        def decoded() -> int:
            frames: int = self._page.evaluate("framesDecoded()")
            return frames if frames >= count else 0

        return wait_until(decoded, timeout=timeout, describe=f"the page to decode {count} pictures")

    def paths(self) -> tuple[TransportPath, ...]:
        """The way that each of its media connections has selected."""
        return _paths_adapter.validate_python(self._page.evaluate("selectedPaths()"))


@contextmanager
def call_page(browser: Browser, origin: str, *, log: Path, from_network: bool = False) -> Iterator[CallPage]:
    """The page, opened at an origin that need not serve it.

    Args:
        origin: a secure one, such as https://lk.localhost: others get no camera.
        log: file for what the page's console says.
        from_network: put the page together in a document that is fetched from the origin, which must answer.
            Chromium then knows how near the origin is, and holds the page to that. Otherwise the browser is
            handed everything in the origin's name, and the page may connect to whatever it can reach.
    """
    lines: list[str] = []
    # The document is the API's, whose own policy allows no script; the page is ours.
    with browser.new_context(bypass_csp=from_network) as context, context.new_page() as page:
        page.set_default_timeout(_JOIN_SECONDS * 1000)
        page.on("console", lambda message: lines.append(_without_token(f"{message.type}: {message.text}")))
        page.on("pageerror", lambda error: lines.append(_without_token(f"error: {error}")))
        if not from_network:
            # A page from nowhere counts as one from far away, which may not connect to near addresses.
            context.grant_permissions(["local-network-access"], origin=origin)
            page.route(
                f"{origin}/call.html", lambda route: route.fulfill(body=_EMPTY, content_type="text/html")
            )
        try:
            page.goto(f"{origin}/" if from_network else f"{origin}/call.html")
            for script in (client_library(), _SOURCES / "call.js"):
                page.add_script_tag(path=script)
            yield CallPage(page)
        finally:
            log.write_text("\n".join(lines) + "\n")


def _without_token(line: str) -> str:
    """The browser names the whole URL of a connection that failed, and the token is a part of it."""
    return re.sub(r"access_token=\S*", "access_token=…", line)


def client_library() -> Path:
    """LiveKit's library for browsers, by npm from the lock; kept in the cache, outside the checkout."""
    locked = [_SOURCES / name for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in locked)).hexdigest()[:12]
    final = _cache() / f"browser-tests-{digest}"
    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent) as scratch:
            installed = Path(scratch) / "installed"
            installed.mkdir()
            for path in locked:
                shutil.copy(path, installed)
            # Scripts of packages have no business here.
            flags = ["--ignore-scripts", "--no-audit", "--no-fund"]
            run([program("npm"), "ci", *flags], cwd=installed, timeout=_INSTALL_SECONDS)
            try:
                installed.rename(final)
            except OSError:
                # Another checkout has put the same there meanwhile.
                if not final.exists():
                    raise
    return final / _LIBRARY


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "livekit-platform"
