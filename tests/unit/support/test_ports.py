from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests import ports
from tests.running import CHECKOUT

_PRINT_FORTY = "from tests.ports import free_port; print(*(free_port() for _ in range(40)))"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> range:
    """A small range of ports that no other test uses."""
    monkeypatch.setattr(ports, "_FIRST", 19_000)
    monkeypatch.setattr(ports, "_LAST", 19_049)
    return range(19_000, 19_050)


def test_no_port_is_given_twice_also_not_to_another_process(few: range) -> None:
    program = (
        f"from tests import ports; ports._FIRST, ports._LAST = {few[0]}, {few[-1]}\n{_PRINT_FORTY}; input()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout
        theirs = {int(word) for word in other.stdout.readline().split()}
        ours = {ports.free_port() for _ in range(5)}
        other.communicate("\n", timeout=60)
    assert len(theirs) == 40
    assert len(ours) == 5
    assert not ours & theirs
    assert ours <= set(few)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_port_that_is_in_use_is_not_given(
    kind: socket.SocketKind,
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert not ports._is_free(port)
    assert ports._is_free(port)
