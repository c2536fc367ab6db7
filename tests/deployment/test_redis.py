"""Redis with Sentinel, in a namespace of the test's own: it fails over, loses nothing, and lets in who may.

The stack's own Redis is tested in test_platform.py; tests/chaos kills a master under a call.
"""

from __future__ import annotations

import secrets

import pytest
import testinfra.host

from common.waiting import NeverHappened, wait_until
from livekit_platform.values.redis_client import REDIS_MASTER
from tests.deployment.kubectl import Kubectl
from tests.deployment.node_backend import node_host
from tests.redis_trio import FAILOVER_MS, PODS, RedisTrio, deploy
from tests.support.speed import scaled

pytestmark = pytest.mark.own_namespace

# Silence, a vote and a promotion would take half of it.
_WATCHED_SECONDS = 2 * (FAILOVER_MS / 1000 + 5)
_PORTS = (6379, 26379)


@pytest.fixture(scope="module")
def module_trio(kubectl: Kubectl, scratch: str) -> RedisTrio:
    return deploy(kubectl, scratch)


@pytest.fixture
def trio(module_trio: RedisTrio) -> RedisTrio:
    """The three servers, even if a failed test left fewer of them."""
    module_trio.scale(len(PODS))
    return module_trio


@pytest.fixture
def master(trio: RedisTrio) -> str:
    """The master's pod, when all is as it should be."""
    return trio.settled()


def _written(trio: RedisTrio, master: str) -> str:
    """A key that the master and both replicas have; its value is its name."""
    key = f"kept_{secrets.token_hex(4)}"

    def write() -> bool:
        # Refused as long as no replica follows.
        return trio.cli(master, "SET", key, key).stdout == "OK"

    wait_until(write, timeout=scaled(30), describe=f"{master} to take a write")
    assert trio.cli(master, "WAIT", "2", "5000").stdout in ("1", "2")
    return key


def test_one_is_master_and_the_sentinels_know_each_other(trio: RedisTrio, master: str) -> None:
    for pod in PODS:
        others = trio.cli(pod, "SENTINEL", "SENTINELS", REDIS_MASTER, port=26379).stdout.split("\n")
        assert others.count("name") == 2, others


@pytest.mark.parametrize("port", _PORTS)
def test_wrong_credentials_are_refused(trio: RedisTrio, master: str, port: int) -> None:
    for user in ("livekit", "sentinel", "replica", "default"):
        refused = trio.cli(master, "PING", port=port, user=user, password="wrong")
        assert "WRONGPASS" in refused.stdout, f"{user}: {refused.stdout}"
        assert "NOAUTH" in refused.stdout, f"{user}: {refused.stdout}"
    probe = ("GET", "x") if port == 6379 else ("SENTINEL", "MASTERS")
    assert "NOPERM" in trio.cli(master, *probe, port=port, user="probe", password="any").stdout


def test_the_sfus_user_may_do_its_work_and_no_more(trio: RedisTrio, master: str) -> None:
    for allowed in (("SET", "mine", "1"), ("PUBLISH", "channel", "x"), ("EVAL", "return 1", "0")):
        assert "NOPERM" not in trio.cli(master, *allowed).stdout, allowed
    for refused in (("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("REPLICAOF", "NO", "ONE")):
        assert "NOPERM" in trio.cli(master, *refused).stdout, refused
    for refused in (("SENTINEL", "FAILOVER", REDIS_MASTER), ("SENTINEL", "RESET", "*"), ("SHUTDOWN",)):
        assert "NOPERM" in trio.cli(master, *refused, port=26379).stdout, refused


@pytest.mark.parametrize("port", _PORTS)
def test_nodes_reach_every_pod_and_strangers_none(
    trio: RedisTrio, master: str, kubectl: Kubectl, nodes: list[testinfra.host.Host], port: int
) -> None:
    addresses = [kubectl.pod_ip(trio.namespace, pod) for pod in PODS]
    for node in nodes:
        for address in addresses:
            reached = node.run(f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'")
            assert reached.rc == 0, f"{node.backend.get_hostname()} to {address}: {reached.stderr}"
    # In the same namespace: what is not Redis' own pod is a stranger, too.
    stranger = f"stranger-{port}"
    kubectl.start_pod(trio.namespace, stranger)
    dns = kubectl(
        "-n", "kube-system", "get", "service", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"
    ).stdout
    assert kubectl.connects(trio.namespace, stranger, dns, 53), "the probe must be able to connect at all"
    for address in addresses:
        assert not kubectl.connects(trio.namespace, stranger, address, port), (
            f"a stranger reached {address}:{port}"
        )


def test_the_files_with_passwords_are_their_user_s_alone(
    trio: RedisTrio, master: str, kubectl: Kubectl, scratch: str
) -> None:
    for pod in PODS:
        words = ["-n", scratch, "exec", pod, "-c", "sentinel", "--", "sh", "-c"]
        modes = kubectl(*words, "stat -Lc '%a %n' /data/sentinel/*.conf /acl/*").stdout.split("\n")
        assert {mode.split()[0] for mode in modes if mode} == {"440", "600"}, modes
        arguments = kubectl(*words, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'").stdout
        assert "redis-server" in arguments
        assert trio.own_password not in arguments


def test_a_killed_master_is_replaced_and_comes_back_as_a_replica(trio: RedisTrio, master: str) -> None:
    key = _written(trio, master)
    with trio.killed(master):
        successor = trio.new_master(instead_of=master)
        assert trio.cli(successor, "GET", key).stdout == key
        # This write succeeds only when the remaining replica follows the new master.
        _written(trio, successor)
    assert trio.settled() == successor
    assert trio.cli(master, "GET", key).stdout == key, "the old master has not caught up"


@pytest.mark.long
def test_a_killed_pod_leaves_one_master_and_all_data(trio: RedisTrio, master: str) -> None:
    """Kubernetes restarts the master at once. It may be replaced or stay master; no data is lost."""
    key = _written(trio, master)
    before = trio.incarnation(master)
    trio.kill(master)
    _wait_for_another(trio, master, before)
    successor = trio.settled()
    assert {trio.cli(pod, "GET", key).stdout for pod in PODS} == {key}
    _written(trio, successor)


@pytest.mark.long
def test_killed_processes_leave_one_master_and_all_data(
    trio: RedisTrio, master: str, disruptive_session: None
) -> None:
    key = _written(trio, master)
    before = trio.incarnation(master)
    # Server and Sentinel, in the middle of whatever they do. Who is master then is theirs to settle.
    trio.signal(master, node_host(trio.node_of(master)), "KILL")
    _wait_for_another(trio, master, before)
    successor = trio.settled()
    assert trio.cli(successor, "GET", key).stdout == key


@pytest.mark.long
def test_a_master_that_hangs_is_replaced_and_steps_back(
    trio: RedisTrio, master: str, disruptive_session: None
) -> None:
    key = _written(trio, master)
    node = node_host(trio.node_of(master))
    trio.signal(master, node, "STOP")
    try:
        successor = trio.new_master(instead_of=master)
        later = _written(trio, successor)
    finally:
        trio.signal(master, node, "CONT")
    # It takes itself for master until a Sentinel tells it otherwise.
    assert trio.settled() == successor
    assert [trio.cli(master, "GET", name).stdout for name in (key, later)] == [key, later]


@pytest.mark.long
def test_an_empty_volume_empties_nobody(kubectl: Kubectl, scratch: str, disruptive_session: None) -> None:
    """The master restarts without its data before anybody takes it for dead: it must not go on as master."""
    with kubectl.namespace(f"{scratch}-empty") as namespace:
        trio = deploy(kubectl, namespace, failover_ms=20000)
        master = trio.settled()
        key = _written(trio, master)
        words = ["-n", namespace, "exec", master, "-c", "redis", "--", "rm", "-rf"]
        kubectl(*words, "/data/appendonlydir", "/data/sentinel/first")
        trio.signal(master, node_host(trio.node_of(master)), "KILL", only_server=True)
        successor = trio.new_master(instead_of=master)
        assert trio.settled() == successor
        assert {trio.cli(pod, "GET", key).stdout for pod in PODS} == {key}


@pytest.mark.long
def test_new_passwords_reach_all_three_and_no_data_is_lost(kubectl: Kubectl, scratch: str) -> None:
    """Old and new do not let each other in: the update must end all the same."""
    with kubectl.namespace(f"{scratch}-passwords") as namespace:
        trio = deploy(kubectl, namespace)
        key = _written(trio, trio.settled())
        renewed = deploy(kubectl, namespace, replication_password=secrets.token_hex(32))
        assert renewed.own_password != trio.own_password
        assert {renewed.cli(pod, "GET", key).stdout for pod in PODS} == {key}
        refused = renewed.cli("redis-0", "ROLE", user="sentinel", password=trio.own_password)
        assert "WRONGPASS" in refused.stdout


@pytest.mark.long
def test_a_restart_of_all_waits_for_the_last_master(
    trio: RedisTrio, kubectl: Kubectl, scratch: str, disruptive_session: None
) -> None:
    """redis-2 is the last master, redis-0 missed its last write, and both others are back before it."""
    _make_master(trio, "redis-2")
    behind = node_host(trio.node_of("redis-0"))
    trio.signal("redis-0", behind, "STOP")
    try:
        key = f"late_{secrets.token_hex(4)}"
        assert trio.cli("redis-2", "SET", key, key).stdout == "OK"
        kubectl("-n", scratch, "delete", "pod", *PODS, "--force", "--grace-period=0", "--wait=false")
        trio.scale(0)
    finally:
        # The kill reaches a stopped process as well; its pod may be gone.
        _wait_until_gone(kubectl, scratch)
    trio.scale(2)
    early = PODS[:2]
    wait_until(
        lambda: all(trio.named_by(pod) == "redis-2" for pod in early),
        # Both servers wait this long for the last master, then go on without it.
        timeout=scaled(60) - _WATCHED_SECONDS,
        describe="two Sentinels that remember the last master",
    )
    with pytest.raises(NeverHappened):
        wait_until(
            lambda: "master" in trio.roles().values(), timeout=_WATCHED_SECONDS, describe="a wrong master"
        )
    trio.scale(3)
    assert trio.settled() == "redis-2"
    assert {trio.cli(pod, "GET", key).stdout for pod in PODS} == {key}


@pytest.mark.long
def test_a_last_master_that_never_comes_is_replaced_in_the_end(
    trio: RedisTrio, master: str, kubectl: Kubectl, scratch: str, disruptive_session: None
) -> None:
    _make_master(trio, "redis-2")
    key = _written(trio, "redis-2")
    trio.scale(0)
    _wait_until_gone(kubectl, scratch)
    trio.scale(2)
    successor = trio.settled(timeout=180, pods=PODS[:2])
    assert trio.cli(successor, "GET", key).stdout == key
    trio.scale(3)
    assert trio.settled() == successor


def _wait_for_another(trio: RedisTrio, pod: str, before: tuple[str, int] | None) -> None:
    """Wait until `pod` has a new server instead of `before`. The pod may be missing in between."""
    wait_until(
        lambda: trio.incarnation(pod) not in (None, before),
        timeout=scaled(60),
        describe=f"another server of {pod}",
    )


def _wait_until_gone(kubectl: Kubectl, namespace: str) -> None:
    """Wait until none of the three pods is left. kubectl fails if no pod exists at the start."""
    seconds = scaled(60)
    words = ["wait", "--for=delete", "pod", *PODS, f"--timeout={seconds:.0f}s"]
    kubectl("-n", namespace, *words, check=False, timeout=seconds + 10)


def _make_master(trio: RedisTrio, wanted: str) -> None:
    """The others hang until only `wanted` can be promoted."""
    if trio.settled() == wanted:
        return
    others = [(pod, node_host(trio.node_of(pod))) for pod in PODS if pod != wanted]
    master = trio.settled()
    # The Sentinels are redis-server, too: two must stay for a majority.
    for pod, node in others:
        trio.signal(pod, node, "STOP", only_server=True)
    try:
        assert trio.new_master(instead_of=master) == wanted
    finally:
        for pod, node in others:
            trio.signal(pod, node, "CONT", only_server=True)
    assert trio.settled() == wanted
