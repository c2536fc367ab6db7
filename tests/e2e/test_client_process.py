"""A client that cannot do its work says why, and none outlives whoever started it. Needs root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from common.waiting import wait_until
from loadtest.client.process import ClientDied, client_process
from loadtest.client.protocol import ClientConfig, Joined
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import OnlyTo
from loadtest.net.namespace import ClientNamespace, client_namespace
from tests.e2e.switch import own_switch

CHECKOUT = Path(__file__).parents[2]

CONTROLLER = """
import sys, time
from pathlib import Path
from loadtest.client.process import client_process
from loadtest.client.protocol import ClientConfig
from loadtest.net.bridge import ClientName, ClientNetwork
from loadtest.net.namespace import ClientNamespace
network = ClientNetwork.model_validate_json(sys.argv[1])
at = ClientNamespace(ClientName.parse(sys.argv[2]), network)
config = ClientConfig(url=f"ws://{network.gateway}:7880", token="t", join_timeout=600)
with client_process("orphan", config, namespace=at, log=Path(sys.argv[3])) as client:
    print(client.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def network() -> Iterator[ClientNetwork]:
    with own_switch() as made:
        yield made


@pytest.fixture
def namespace(network: ClientNetwork) -> Iterator[ClientNamespace]:
    with client_namespace(network) as made:
        yield made


def _config(network: ClientNetwork, *, join_timeout: float = 20) -> ClientConfig:
    return ClientConfig(
        url=f"ws://{network.gateway}:7880", token=SecretStr("hidden"), join_timeout=join_timeout
    )


def test_a_server_that_refuses_is_named_at_once(
    network: ClientNetwork, namespace: ClientNamespace, tmp_path: Path
) -> None:
    log = tmp_path / "client.log"
    with (
        client_process("early", _config(network), namespace=namespace, log=log) as client,
        pytest.raises(ClientDied, match="client early ended without Joined") as caught,
    ):
        client.wait_for(Joined, timeout=20)
    assert "it said: the server did not let it join: " in str(caught.value)
    assert str(log) in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_server_that_is_silent_is_given_up_in_the_time_that_joining_may_take(
    network: ClientNetwork, tmp_path: Path
) -> None:
    with (
        client_namespace(network, firewall=OnlyTo(())) as cut_off,
        client_process(
            "cut off", _config(network, join_timeout=2), namespace=cut_off, log=tmp_path / "client.log"
        ) as client,
        pytest.raises(ClientDied, match="it said: the server did not let it join: "),
    ):
        client.wait_for(Joined, timeout=12)


def test_a_wrong_configuration_is_named(namespace: ClientNamespace, tmp_path: Path) -> None:
    wrong = ClientConfig.model_construct(url="ftp://nowhere", token=SecretStr("hidden"))
    with (
        client_process("wrong", wrong, namespace=namespace, log=tmp_path / "client.log") as client,
        pytest.raises(ClientDied, match=r"it said: configuration: .*\n.*url") as caught,
    ):
        client.wait_for(Joined, timeout=20)
    assert "hidden" not in str(caught.value)


def test_a_client_that_is_killed_is_noticed_while_it_should_run(
    network: ClientNetwork, tmp_path: Path
) -> None:
    with (
        client_namespace(network, firewall=OnlyTo(())) as cut_off,
        client_process("victim", _config(network), namespace=cut_off, log=tmp_path / "client.log") as client,
    ):
        os.kill(client.pid, signal.SIGKILL)
        with pytest.raises(
            ClientDied, match=r"client victim ended (2\d\.\d|30\.0) s too early; exit code -9"
        ):
            client.run_for(30)


def test_a_namespace_that_is_gone_is_an_error_of_the_client(network: ClientNetwork, tmp_path: Path) -> None:
    with client_namespace(network) as gone:
        pass
    with (
        pytest.raises(ClientDied, match="/run/netns/lkclient"),
        client_process("nowhere", _config(network), namespace=gone, log=tmp_path / "client.log") as client,
    ):
        client.wait_for(Joined, timeout=20)


def test_a_client_leaves_when_its_controller_is_killed(network: ClientNetwork, tmp_path: Path) -> None:
    with client_namespace(network, firewall=OnlyTo(())) as cut_off:
        argv = [sys.executable, "-c", CONTROLLER, network.model_dump_json(), str(cut_off.name)]
        with subprocess.Popen(
            [*argv, str(tmp_path / "client.log")], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
        ) as controller:
            assert controller.stdout is not None
            client = int(controller.stdout.readline())
            assert Path(f"/proc/{client}").exists()
            controller.kill()
        wait_until(
            lambda: not Path(f"/proc/{client}").exists(), timeout=20, describe="the orphaned client to leave"
        )
