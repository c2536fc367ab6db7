"""LiveKit's own TURN server, by the program's own configuration for `turn.kind: embedded`.

The stack under test has coturn. So an SFU of the test's own runs beside it, on other ports of a node and
without Redis; a forwarder that ends TLS stands in for the edge, whose ports are taken.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from common.commands import run
from common.waiting import wait_until
from livekit_platform import names
from livekit_platform.certificates import new_authority, new_server_certificate
from livekit_platform.config import PlatformConfig
from livekit_platform.values import livekit
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Endpoint, OnlyTo
from loadtest.net.namespace import ClientNamespace, client_namespace
from loadtest.targets.outputs import StackOutputs, endpoint_of
from loadtest.targets.tokens import make_admission
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import Network, assert_media_arrived, hold_call, room_name
from tests.e2e.chromium import chromium
from tests.e2e.page import call_page
from tests.manifests.rendering import template
from tests.running import ClusterAccess
from tests.unit.infra.program import minimal_config, parse_completed

pytestmark = pytest.mark.long

# Apart from the stack's own, on the same node.
_PORTS: Final[dict[str, Any]] = {
    "signal": 17980,
    "ice_tcp": 17981,
    "media_udp": 17982,
    "turn_udp": 14478,
    "turn_tls": 14349,
    "livekit_metrics": 16889,
}
_ROLLOUT_SECONDS = 120


@dataclass(frozen=True)
class Sfu:
    """The SFU of this test, and the stack's outputs as they would be if it were the stack's."""

    node: IPv4Address
    outputs: StackOutputs


@pytest.fixture(scope="module")
def sfu(
    outputs: StackOutputs, cluster: ClusterAccess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sfu]:
    kubectl = Kubectl(cluster)
    address = endpoint_of(outputs.signal_urls[0]).address
    name = kubectl.node_at(str(address))
    with kubectl.namespace(f"test-embedded-turn-{os.getpid()}") as namespace:
        config = _config(namespace, name, address, outputs)
        values = {**livekit.chart_values(config), "priorityClassName": ""}
        chart = template(cluster.tools / "helm", names.LIVEKIT, values, namespace)
        kubectl.apply(_secret(config, outputs), *chart)
        kubectl(
            *("-n", namespace, "rollout", "status", f"deployment/{names.LIVEKIT}"),
            f"--timeout={_ROLLOUT_SECONDS}s",
            timeout=_ROLLOUT_SECONDS + 10,
        )
        url = f"ws://{address}:{config.ports.signal}"
        yield Sfu(address, outputs.model_copy(update={"signal_url": url, "signal_urls": (url,)}))


def _config(namespace: str, node: str, address: IPv4Address, outputs: StackOutputs) -> PlatformConfig:
    given = minimal_config(outputs.kubeconfig_path) | {
        "namespace": namespace,
        "domain": outputs.domain,
        "nodes": [{"name": node, "address": str(address)}],
        "turn": {"kind": "embedded"},
        "livekit": {"drain_seconds": 5, "resources": _small()},
        "ports": _PORTS,
    }
    config, mistakes = parse_completed(given)
    assert config is not None, mistakes
    return config


def _small() -> dict[str, str]:
    return {"cpu_request": "50m", "memory_request": "64Mi", "memory_limit": "512Mi"}


def _secret(config: PlatformConfig, outputs: StackOutputs) -> dict[str, Any]:
    """As the component makes it, but for what this one has no use for: Redis and the webhook."""
    complete = livekit.with_secrets(
        livekit.server_config(config),
        api_key=outputs.livekit_api_key,
        api_secret=outputs.livekit_api_secret.get_secret_value(),
        redis_password="",
        turn_secret="",
    )
    alone = {key: value for key, value in complete.items() if key not in ("redis", "webhook")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.LIVEKIT_CONFIG_SECRET, "namespace": config.namespace},
        "stringData": {livekit.CONFIG_FILE: yaml.safe_dump(alone)},
    }


def test_relay_only_by_the_embedded_server_over_udp(
    sfu: Sfu, client_network: ClientNetwork, tmp_path: Path
) -> None:
    room, url = room_name(), sfu.outputs.signal_url
    turn = Endpoint("udp", sfu.node, _PORTS["turn_udp"])
    call = hold_call(
        client_network,
        publisher=make_admission(sfu.outputs, url=url, room=room, identity="publisher"),
        subscriber=make_admission(sfu.outputs, url=url, room=room, identity="subscriber"),
        through=Network(firewall=OnlyTo((endpoint_of(url), turn)), transport="relay"),
        logs=tmp_path,
    )
    for _, end in call.ends:
        for path in end.paths:
            assert (path.local.type, path.local.relay_protocol) == ("relay", "udp"), f"{path}"
            assert endpoint_of(path.local.server_url) == turn, f"{path}"
            assert IPv4Address(path.remote.address) == sfu.node, f"{path}"
    assert_media_arrived(call)


def test_relay_only_by_the_embedded_server_over_tls_that_ends_before_it(
    sfu: Sfu, client_network: ClientNetwork, tmp_path: Path
) -> None:
    turn_name, url = f"turn.{sfu.outputs.domain}", sfu.outputs.signal_url
    ca, chain = _certificates(sfu.outputs.domain, turn_name, tmp_path)
    with (
        client_namespace(client_network) as front,
        _tls_ends_at(front, chain, f"{sfu.node}:{_PORTS['turn_tls']}"),
    ):
        told = client_network.model_copy(update={"names": {turn_name: front.address}})
        walls = OnlyTo((endpoint_of(url), Endpoint("tcp", front.address, 443)))
        with (
            client_namespace(told, firewall=walls) as walled,
            chromium(tmp_path / "home", trusting=ca, namespace=walled) as browser,
            call_page(browser, "http://localhost", log=tmp_path / "page.log") as page,
        ):
            room = room_name()
            page.join(make_admission(sfu.outputs, url=url, room=room, identity="browser"), "relay")
            paths = page.paths()
    assert paths
    for path in paths:
        assert (path.local.type, path.local.relay_protocol) == ("relay", "tls"), f"{path}"
        assert path.local.server_url == f"turns:{turn_name}:443?transport=tcp", f"{path}"
        assert IPv4Address(path.remote.address) == sfu.node, f"{path}"


def _certificates(domain: str, name: str, directory: Path) -> tuple[str, Path]:
    """A CA's certificate, and a file with the chain and key of a server of that name."""
    ca = new_authority(domain)
    server = new_server_certificate([name], ca)
    chain = directory / "chain.pem"
    chain.write_text(server.certificate + server.private_key)
    return ca.certificate, chain


@contextmanager
def _tls_ends_at(front: ClientNamespace, chain: Path, target: str) -> Iterator[None]:
    """Port 443 of a namespace, with TLS, to a target in the clear."""
    listen = f"OPENSSL-LISTEN:443,cert={chain},verify=0,reuseaddr,fork"
    with subprocess.Popen(
        front.command(["socat", listen, f"TCP4:{target}"]), start_new_session=True
    ) as process:
        try:
            sockets = front.command(["ss", "-Hltn", "sport = :443"])
            wait_until(
                lambda: run(sockets, timeout=10).stdout, timeout=10, describe="the forwarder to listen"
            )
            yield
        finally:
            process.terminate()
