"""coturn's own client goes by TURN over TLS through the edge, and looks at the certificate.

A peer at an SFU's node sends back what comes out of the relay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from common.commands import Completed
from livekit_platform.certificates import new_authority, new_server_certificate
from loadtest.targets.outputs import endpoint_of, host_of
from tests.deployment import turn_servers
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import credentials
from tests.running import RunningStack

# Neither the platform's nor a NodePort. Relays reach it by a policy of this test.
_PEER_PORT = 14480
_PACKETS = 20
_FILES = "/certificates"


@dataclass(frozen=True)
class Client:
    """A pod with coturn's client in it.

    Attributes:
        arguments: of the client, but for the authority.
    """

    kubectl: Kubectl
    namespace: str
    arguments: tuple[str, ...]

    def run(self, authority: str, *, seconds: int) -> Completed:
        """Send some packets, with the certificate checked against this one of the pod's files.

        A client that cannot connect tries for ever, so it is ended after some seconds.
        """
        # -E does nothing without -i and -k, a certificate of the client's own, which nobody asks for.
        trust = ["-E", f"{_FILES}/{authority}", "-i", f"{_FILES}/client.pem", "-k", f"{_FILES}/client.key"]
        command = ["timeout", str(seconds), "turnutils_uclient", *trust, *self.arguments]
        where = ("-n", self.namespace, "exec", "client", "--", *command)
        return self.kubectl(*where, timeout=60, check=False)


@pytest.fixture(scope="module")
def client(stack: RunningStack, kubectl: Kubectl, scratch: str) -> Iterator[Client]:
    outputs = stack.outputs
    turn = turn_servers.find(stack, kubectl)
    [url] = [url for url in outputs.turn_urls if url.startswith("turns:")]
    edge = endpoint_of(url, outputs.address_of)
    peer = turn.sfus[0]
    another = new_authority(outputs.domain)
    own = new_server_certificate([f"client.{outputs.domain}"], another)
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "certificates", "namespace": scratch},
            "stringData": {
                "ours.pem": outputs.ca_certificate,
                "another.pem": another.certificate,
                "client.pem": own.certificate,
                "client.key": own.private_key,
            },
        }
    )
    turn_servers.run_echo(kubectl, scratch, "peer", peer, _PEER_PORT)
    kubectl.create_pod(
        scratch,
        "client",
        script="",
        # No DNS knows the name, and the certificate is for it.
        hostAliases=[{"ip": str(edge.address), "hostnames": [host_of(url)]}],
        volumes=[{"name": "certificates", "secret": {"secretName": "certificates"}}],
        container={
            "image": turn_servers.image_of(kubectl),
            "command": ["bash", "-c", "exec sleep 3600"],
            "volumeMounts": [{"name": "certificates", "mountPath": _FILES}],
        },
    )
    kubectl.wait_for_pods(scratch, "client")
    known = credentials(turn.secret)
    assert known.username is not None
    assert known.password is not None
    made = Client(
        kubectl,
        scratch,
        (
            # TCP, and TLS over it; no RTCP; channels are padded, as on a stream they must be.
            *("-t", "-S", "-c", "-D", "-n", str(_PACKETS)),
            *("-u", known.username, "-w", known.password),
            *("-p", str(edge.port), "-e", peer, "-r", str(_PEER_PORT)),
            host_of(url),
        ),
    )
    with turn_servers.relays_reach(kubectl, outputs.namespace, [peer], _PEER_PORT):
        yield made


def test_packets_go_to_an_sfus_node_and_back_under_the_stacks_certificate(client: Client) -> None:
    done = client.run("ours.pem", seconds=40)
    said = done.stdout + done.stderr
    assert done.ok, said
    [*_, (sent, received)] = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
    assert int(sent) == _PACKETS, said
    # The relay's other side is UDP, on a machine that does other things too.
    assert int(received) >= _PACKETS / 2, said


def test_under_another_authority_there_is_no_relay(client: Client) -> None:
    done = client.run("another.pem", seconds=5)
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "certificate verify failed" in said, said
