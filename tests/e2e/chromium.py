"""Debian's Chromium, with a home of its own: in a client's network and with its names, or on this machine."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from common.commands import run
from loadtest.net.namespace import ClientNamespace

_SECONDS = 60.0
# Nothing but what the page does; and no questions, for nobody sits there.
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


def program(name: str) -> str:
    """The path of a program that these tests need, or a failure that says how to get it."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not on PATH: `python3 -m local prepare-tests` installs it")
    return path


@contextmanager
def chromium(home: Path, *, trusting: str, namespace: ClientNamespace | None = None) -> Iterator[Browser]:
    """A browser for as long as the block runs.

    Args:
        home: a directory that is not there yet, for its profile and its certificates.
        trusting: PEM of the authority that it trusts beside the built-in ones; empty for none.
        namespace: where it runs; on this machine as its user has it without one.
    """
    home.mkdir(parents=True)
    if trusting:
        _trust(home, trusting)
    argv, flags = [program("chromium")], list(_FLAGS)
    if namespace is not None:
        argv = namespace.command(argv)
        # Chromium takes *.localhost for the machine itself, whatever the hosts file says.
        names = ",".join(f"MAP {name} {address}" for name, address in namespace.network.names.items())
        flags.append(f"--host-resolver-rules={names}")
    launcher = home / "launch-chromium"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
    launcher.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=launcher,
            args=flags,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
            timeout=_SECONDS * 1000,
        )
        try:
            yield browser
        finally:
            browser.close()


def _trust(home: Path, certificate: str) -> None:
    """Into the database where Chromium looks for authorities that its user added."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    where = ["-d", f"sql:{database}"]
    run([program("certutil"), *where, "-N", "--empty-password"], timeout=_SECONDS)
    run(
        [program("certutil"), *where, "-A", "-n", "livekit-platform", "-t", "C,,"],
        timeout=_SECONDS,
        input=certificate,
    )
