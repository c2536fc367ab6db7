"""Changes of the certificate and the configuration while connections are open.

The edge loads valid files, refuses invalid ones, and closes no connection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from common.waiting import wait_until
from tests.certificates import Certificate, Wrong, authority, certificate, wrong_certificates
from tests.manifests.edge.conftest import DOMAIN
from tests.manifests.edge.haproxy import Service, rendered_configuration, with_own_sockets
from tests.manifests.edge.live_edge import WAIT_SECONDS, LiveEdge, closed
from tests.manifests.rendering import template
from tests.ports import free_port

# Enough connections that each of HAProxy's two threads has some. A closed connection would be one of these.
_CONNECTIONS = 8
_WRONG = wrong_certificates(DOMAIN)
_BAD_CONFIGURATION = "this is no configuration\n"


def _configuration(helm: Path, edge: LiveEdge, api: int, **changes: Any) -> str:
    values = {
        "domain": DOMAIN,
        "tlsSecretName": "edge-tls",
        "ports": {"https": edge.https, "http": edge.http, "metrics": edge.metrics},
        "upstreams": {
            "sfu": {"host": "localhost", "addresses": ["127.0.0.1"]},
            "api": {"host": "localhost", "port": api, "podLabels": {"a": "b"}},
        },
        "drainSeconds": edge.drain_seconds,
        **changes,
    }
    return with_own_sockets(rendered_configuration(template(helm, "edge", values)), edge.https)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service("api") as made:
        yield made


def _edge(helm: Path, service: Service, directory: Path) -> LiveEdge:
    """An edge that has its files but does not run yet."""
    edge = LiveEdge(directory, DOMAIN, free_port(), free_port())
    edge.prepare()
    edge.use(certificate(DOMAIN))
    edge.configure(_configuration(helm, edge, service.port))
    return edge


@pytest.fixture
def own_edge(helm: Path, service: Service, tmp_path: Path) -> LiveEdge:
    return _edge(helm, service, tmp_path)


@pytest.fixture(scope="module")
def shared_edge(helm: Path, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveEdge]:
    edge = _edge(helm, service, tmp_path_factory.mktemp("live-edge"))
    with edge.running():
        yield edge


@pytest.fixture
def edge(helm: Path, service: Service, shared_edge: LiveEdge) -> Iterator[LiveEdge]:
    """A running edge. The fixture undoes a test's changes, even if the test fails."""
    yield shared_edge
    said = len(shared_edge.events())
    shared_edge.configure(_configuration(helm, shared_edge, service.port))
    wait_until(
        lambda: shared_edge.client.status("localhost") == 421,
        timeout=WAIT_SECONDS,
        describe="the configuration from before the test",
        interval=0.05,
    )
    shared_edge.use(certificate(DOMAIN))
    # This is the watcher's last event about this test, so the next test sees only its own events.
    shared_edge.wait_for("renewed", said)


@contextmanager
def _undisturbed(edge: LiveEdge, *, reloads: bool = False) -> Iterator[None]:
    """Assert that open connections survive the block. Without a reload, the worker must also survive it."""
    worker = edge.worker()
    with edge.websockets(_CONNECTIONS) as connections:
        yield
        assert closed(connections) == 0
    assert (edge.worker() == worker) is not reloads
    assert "PRIVATE KEY" not in edge.log("watch") + edge.log("run")


@pytest.mark.parametrize("wrong", _WRONG.values(), ids=_WRONG)
def test_a_wrong_certificate_never_reaches_the_running_haproxy(edge: LiveEdge, wrong: Wrong) -> None:
    """The fixture's teardown checks that a valid certificate is loaded afterwards."""
    before, said = edge.client.served(), len(edge.events())
    with _undisturbed(edge):
        edge.use(wrong.certificate)
        [refused] = edge.wait_for("refused", said)
        assert wrong.because in refused["because"]
        assert edge.client.served() == before


def test_what_was_refused_is_reported_once(edge: LiveEdge) -> None:
    said = len(edge.events())
    edge.use(_WRONG["another certificate's key"].certificate)
    edge.wait_for("refused", said)
    # If the watcher reported the refusal again, the next event would not be about the next change.
    edge.configure(_BAD_CONFIGURATION)
    edge.wait_for("refused", said + 1)
    assert [event["event"] for event in edge.events()[said:]] == ["refused", "refused"]


def _signed(by_chain: bool = True, **options: Any) -> Certificate:
    signer = authority("a test's authority")
    made = certificate(DOMAIN, by=signer, **options)
    chain = signer.pem if by_chain else authority("another authority").pem
    return Certificate(made.pem + chain, made.key)


_RIGHT = {
    "with a chain": (_signed(), ""),
    "with an RSA key": (
        certificate(DOMAIN, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "",
    ),
    "with empty lines": (
        Certificate(*(f"\n{text}\n\n".replace("\n", "\r\n") for text in _signed().__dict__.values())),
        "",
    ),
    "expired": (_signed(ends=timedelta(hours=-1)), "expired since"),
    "with another's chain": (_signed(by_chain=False), "certificate 2 is not the issuer of the one before it"),
}


@pytest.mark.parametrize(("right", "warning"), _RIGHT.values(), ids=_RIGHT)
def test_a_new_certificate_is_loaded_without_a_reload(
    edge: LiveEdge, right: Certificate, warning: str
) -> None:
    """A certificate that clients may refuse is also loaded, because a restart would load it, too."""
    said = len(edge.events())
    with _undisturbed(edge):
        edge.use(right)
        edge.wait_for("warning" if warning else "renewed", said)
        assert edge.client.served() == right.der
    _, *warnings = edge.events()[said:]
    assert [event["event"] for event in warnings] == (["warning"] if warning else [])
    assert all(warning in event["certificate"] for event in warnings)


def test_a_certificate_that_does_not_fit_the_command_line_is_loaded_by_a_reload(edge: LiveEdge) -> None:
    right = _signed()
    long = Certificate(right.pem + authority("one of many").pem * 90, right.key)
    said = len(edge.events())
    with _undisturbed(edge, reloads=True):
        edge.use(long)
        events = edge.wait_for("reloaded", said)
        assert edge.client.served() == right.der
    assert "too big for the buffer" in events[0]["because"]


def test_a_wrong_certificate_does_not_hold_up_a_configuration(
    edge: LiveEdge, helm: Path, service: Service
) -> None:
    before, said = edge.client.served(), len(edge.events())
    edge.use(_WRONG["an empty key"].certificate)
    edge.wait_for("refused", said)
    edge.configure(_configuration(helm, edge, service.port, plainLocalhost=True))
    edge.wait_for("reloaded", said + 1)
    assert edge.client.status("localhost") == 200
    assert edge.client.served() == before


def test_a_wrong_configuration_changes_nothing_and_does_not_hold_up_a_certificate(edge: LiveEdge) -> None:
    said, right = len(edge.events()), certificate(DOMAIN)
    with _undisturbed(edge):
        edge.configure(_BAD_CONFIGURATION)
        [refused] = edge.wait_for("refused", said)
        assert "unknown keyword 'this'" in refused["because"]
        edge.use(right)
        edge.wait_for("renewed", said + 1)
        assert edge.client.served() == right.der
        assert edge.client.status("localhost") == 421


def test_a_reload_leaves_connections_for_longer_than_a_stop(
    own_edge: LiveEdge, helm: Path, service: Service
) -> None:
    with own_edge.running(), own_edge.websockets(_CONNECTIONS) as connections:
        own_edge.configure(_configuration(helm, own_edge, service.port, plainLocalhost=True))
        own_edge.wait_for("reloaded", 0)
        ends = time.monotonic() + 3 * own_edge.drain_seconds
        while time.monotonic() < ends:
            assert closed(connections) == 0


def _change_after_validation(edge: LiveEdge, volume: str, files: dict[str, str]) -> None:
    """Replace the volume's files once, right after HAProxy has validated the previous ones."""
    version = edge.directory / volume / "..late"
    version.mkdir()
    for name, text in files.items():
        (version / name).write_text(text)
    top = version.parent
    edge.hook.write_text(
        f"#!/bin/sh\nrm '{edge.hook}'\nln -s ..late '{top}/..new'\nmv -T '{top}/..new' '{top}/..data'\n"
    )
    edge.hook.chmod(0o755)


def test_the_certificate_that_was_validated_is_the_one_that_is_loaded(own_edge: LiveEdge) -> None:
    wrong, right = _WRONG["another certificate's key"].certificate, certificate(DOMAIN)
    with own_edge.running(), _undisturbed(own_edge):
        _change_after_validation(own_edge, "tls", {"tls.crt": wrong.pem, "tls.key": wrong.key})
        own_edge.use(right)
        events = own_edge.wait_for("refused", 0)
        assert [event["event"] for event in events] == ["renewed", "refused"]
        assert own_edge.client.served() == right.der
        assert not own_edge.hook.exists()


def test_the_configuration_that_was_validated_is_the_one_that_is_loaded(
    own_edge: LiveEdge, helm: Path, service: Service
) -> None:
    with own_edge.running(), _undisturbed(own_edge, reloads=True):
        _change_after_validation(own_edge, "config", {"haproxy.cfg": _BAD_CONFIGURATION})
        own_edge.configure(_configuration(helm, own_edge, service.port, plainLocalhost=True))
        events = own_edge.wait_for("refused", 0)
        assert [event["event"] for event in events] == ["reloaded", "refused"]
        assert own_edge.client.status("localhost") == 200
        assert not own_edge.hook.exists()


def test_a_container_that_starts_again_has_the_files_that_were_right(own_edge: LiveEdge) -> None:
    with own_edge.running():
        before = own_edge.client.served()
    own_edge.use(_WRONG["a truncated key"].certificate)
    own_edge.configure(_BAD_CONFIGURATION)
    with own_edge.running():
        assert own_edge.client.served() == before
        assert own_edge.client.status("localhost") == 421
        [refused] = own_edge.events("run")
        assert (refused["event"], refused["goes_on"]) == ("refused", True)
        # The watcher then loads a valid certificate.
        said, right = len(own_edge.events()), certificate(DOMAIN)
        own_edge.use(right)
        own_edge.wait_for("renewed", said)
        assert own_edge.client.served() == right.der


def test_a_first_start_with_a_wrong_certificate_ends_with_the_reason(own_edge: LiveEdge) -> None:
    wrong = _WRONG["a key with a passphrase"]
    own_edge.use(wrong.certificate)
    with own_edge.container("run") as process:
        assert process.wait(timeout=WAIT_SECONDS) == 1
    [refused] = own_edge.events("run")
    assert wrong.because in refused["because"]
    assert (refused["event"], refused["goes_on"]) == ("refused", False)
