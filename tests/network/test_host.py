"""Clients on the machine's own network. Needs root, for the mount of /etc/hosts."""

import sys
from ipaddress import IPv4Address

from common.commands import run
from loadtest.net.host import host_namespace
from tests.support.speed import scaled

_LOOK_UP = "import os, socket, sys; print(socket.gethostbyname(sys.argv[1]), os.environ['SSL_CERT_FILE'])"


def test_a_program_has_the_names_and_the_authority_and_nothing_stays() -> None:
    names = {"sfu.example.com": IPv4Address("192.0.2.1")}
    with host_namespace(names=names, ca_certificate="a certificate") as host:
        assert host.ca_file is not None
        done = run(host.command([sys.executable, "-c", _LOOK_UP, "sfu.example.com"]), timeout=scaled(10))
        assert done.stdout.split() == ["192.0.2.1", str(host.ca_file)]
        assert host.ca_file.read_text() == "a certificate"
    assert not host.ca_file.exists()


def test_without_either_it_is_the_program_itself() -> None:
    with host_namespace(names={}, ca_certificate="") as host:
        assert host.command(["program", "argument"]) == ["program", "argument"]
