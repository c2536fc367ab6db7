"""The start script of a TURN server, with stand-ins for coturn's programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.waiting import wait_until
from tests.certificates import Certificate, certificate, wrong_certificates
from tests.support.coturn_script import put_program, run_script

_ADMIN = """#!/bin/sh
echo "turnadmin: $*"
"""
_SERVER = """#!/bin/sh
trap 'exit 0' USR1
trap 'echo loaded' USR2
echo "serving"
while :; do sleep 0.1; done
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """run.sh with its directories below `tmp_path`, and a certificate that it does not read."""
    script = run_script(tmp_path)
    put_program(tmp_path, "turnadmin", _ADMIN)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "tls" / name).write_text(name)
    return script


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the chart gives the script, and where the stand-in is."""
    return {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "CERTIFICATE_CHECK_SECONDS": "0",
        "DRAIN_SECONDS": "5",
        "RELAY_FIRST": "40000",
        "RELAY_LAST": "49999",
    }


def test_a_mark_is_there_while_the_server_drains_and_only_then(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    mark = tmp_path / "reports" / "draining"
    # Of a container that ended while it drained.
    mark.touch()
    with _serving(script, tmp_path, environment) as log:
        assert not mark.exists()
    assert mark.exists()
    assert "run.sh: drained" in log.read_text()


def test_a_server_that_does_not_drain_is_ended_at_the_deadline(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    server = _SERVER.replace("trap 'exit 0' USR1", "trap '' USR1")
    with _serving(script, tmp_path, {**environment, "DRAIN_SECONDS": "1"}, server) as log:
        pass
    said = log.read_text()
    assert "draining, at most 1 s" in said
    assert "deadline passed with relays left: " in said
    assert "run.sh: drained" not in said


@contextmanager
def _serving(
    script: Path, directory: Path, environment: dict[str, str], server: str = _SERVER
) -> Iterator[Path]:
    """Run the script with a server that keeps running; yields the log. At the end, stop the script."""
    log = directory / "log"
    put_program(directory, "turnserver", server)
    with log.open("wb") as output:
        process = subprocess.Popen(["bash", str(script)], env=environment, stdout=output, stderr=output)
    try:
        _logged(log, "serving")
        yield log
        process.terminate()
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()


def _logged(log: Path, text: str) -> None:
    wait_until(lambda: text in log.read_text(), timeout=20, describe=f"{text!r} in the log", interval=0.05)


def _put(directory: Path, certificate: Certificate) -> None:
    """Replace both files at once, as the kubelet does."""
    version = directory / "tls" / f"..{hash(certificate)}"
    version.mkdir()
    (version / "tls.crt").write_text(certificate.pem)
    (version / "tls.key").write_text(certificate.key)
    for name in ("tls.crt", "tls.key"):
        (directory / "tls" / name).unlink()
        (directory / "tls" / name).symlink_to(f"..data/{name}")
    (directory / "tls" / "..new").symlink_to(version.name)
    (directory / "tls" / "..new").rename(directory / "tls" / "..data")


def _given(directory: Path) -> Certificate:
    """The copy of the certificate that the server reads."""
    copy = directory / "run" / "tls"
    return Certificate((copy / "tls.crt").read_text(), (copy / "tls.key").read_text())


def test_the_server_gets_a_certificate_that_is_right_and_no_other(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    first, second = certificate("turn.test"), certificate("turn.test")
    wrong = wrong_certificates("turn.test")["another certificate's key"]
    _put(tmp_path, first)
    with _serving(script, tmp_path, environment) as log:
        assert _given(tmp_path) == first
        _put(tmp_path, wrong.certificate)
        _logged(log, f"the certificate is refused: {wrong.because}")
        assert _given(tmp_path) == first
        _put(tmp_path, second)
        _logged(log, "loaded")
        assert _given(tmp_path) == second
    # The server loaded a certificate once, not the invalid one.
    assert log.read_text().splitlines().count("loaded") == 1
    assert "PRIVATE KEY" not in log.read_text()


def test_a_container_that_starts_again_has_the_certificate_that_was_right(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    right = certificate("turn.test")
    wrong = wrong_certificates("turn.test")["a truncated key"]
    _put(tmp_path, right)
    with _serving(script, tmp_path, environment):
        pass
    _put(tmp_path, wrong.certificate)
    with _serving(script, tmp_path, environment) as log:
        _logged(log, f"the certificate is refused: {wrong.because}")
        assert _given(tmp_path) == right


def test_a_first_start_with_a_wrong_certificate_takes_a_right_one_later(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """The server serves UDP meanwhile. Without any certificate it would not listen for TLS."""
    _put(tmp_path, wrong_certificates("turn.test")["an empty key"].certificate)
    with _serving(script, tmp_path, environment) as log:
        assert "the certificate is refused" in log.read_text()
        right = certificate("turn.test")
        _put(tmp_path, right)
        _logged(log, "loaded")
        assert _given(tmp_path) == right
