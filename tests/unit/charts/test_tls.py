"""The validation of certificates that charts share."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.certificates import Certificate, Wrong, authority, certificate, wrong_certificates

_CHARTS = Path(__file__).parents[3] / "charts"
_SCRIPT = _CHARTS / "edge" / "files" / "tls.sh"
# openssl itself accepts a small key; HAProxy and coturn refuse it.
_WRONG = {name: wrong for name, wrong in wrong_certificates("a.test").items() if "small" not in name}


def _run(directory: Path, certificate: Certificate, call: str) -> subprocess.CompletedProcess[str]:
    (directory / "tls.crt").write_text(certificate.pem)
    (directory / "tls.key").write_text(certificate.key)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'. "{_SCRIPT}"; {call}'],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # If openssl asked for a passphrase, it would get no answer.
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_each_chart_has_the_same_copy() -> None:
    assert (_CHARTS / "coturn" / "scripts" / "tls.sh").read_bytes() == _SCRIPT.read_bytes()


@pytest.mark.parametrize("wrong", _WRONG.values(), ids=_WRONG)
def test_a_wrong_certificate_is_refused_with_the_reason(tmp_path: Path, wrong: Wrong) -> None:
    done = _run(tmp_path, wrong.certificate, "check_certificate tls.crt tls.key")
    assert done.returncode == 1
    assert done.stdout.startswith(wrong.because)
    assert done.stderr == ""


def test_a_right_certificate_is_accepted_without_a_word(tmp_path: Path) -> None:
    signer = authority("a test's authority")
    right = certificate("a.test", by=signer)
    chain = Certificate(right.pem + signer.pem, right.key)
    done = _run(tmp_path, chain, "check_certificate tls.crt tls.key; certificate_warnings tls.crt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_clients_of_an_expired_certificate_are_warned_of(tmp_path: Path) -> None:
    old = certificate("a.test", ends=timedelta(hours=-1))
    done = _run(tmp_path, old, "check_certificate tls.crt tls.key; certificate_warnings tls.crt")
    assert done.returncode == 0
    assert done.stdout.startswith("expired since ")


def test_a_chain_in_the_wrong_order_is_warned_of(tmp_path: Path) -> None:
    signer = authority("a test's authority")
    right = certificate("a.test", by=signer)
    chain = Certificate(right.pem + authority("another one").pem + signer.pem, right.key)
    done = _run(tmp_path, chain, "check_certificate tls.crt tls.key; certificate_warnings tls.crt")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "certificate 2 is not the issuer of the one before it",
        "certificate 3 is not the issuer of the one before it",
    ]
