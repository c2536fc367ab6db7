"""The configured nodes beside the cluster's: what is refused, what is only said, and what touches nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from livekit_platform import live_nodes
from livekit_platform.config import Node
from livekit_platform.live_nodes import Findings, LiveNode, NoAnswer, compare, read
from livekit_platform.mistakes import Mistake
from tests.support.serving import serving_in_thread
from tests.unit.infra.program import Deployment, minimal_config, run

NODE_A = LiveNode("node-a", ("192.0.2.1",))
NODE_B = LiveNode("node-b", ("192.0.2.2",), ("198.51.100.2",))
# As the API server answers; what is not set there is not there.
API_NODE: dict[str, Any] = {
    "metadata": {"name": "node-a"},
    "spec": {},
    "status": {
        "conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "True"},
        ],
        "addresses": [
            {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "ExternalIP", "address": "198.51.100.1"},
            {"type": "Hostname", "address": "node-a"},
        ],
    },
}


def configured(*entries: tuple[str, ...]) -> list[Node]:
    """Nodes by name, address, and the address inside the cluster where it is given."""
    return [
        Node(
            name=name,
            address=IPv4Address(address),
            internal_address=IPv4Address(inside[0]) if inside else None,
        )
        for name, address, *inside in entries
    ]


def test_nodes_as_the_cluster_has_them_give_no_word() -> None:
    both = configured(("node-a", "192.0.2.1"), ("node-b", "198.51.100.2", "192.0.2.2"))
    assert compare(both, [NODE_B, NODE_A, LiveNode("node-c", ("192.0.2.3",), ready=False)]) == Findings()


def test_a_node_that_is_not_there_comes_with_the_nearest_that_is() -> None:
    found = compare(configured(("nod-a", "192.0.2.9")), [NODE_A, NODE_B])
    [mistake] = found.mistakes
    assert (mistake.key, mistake.given) == ("nodes[0].name", '"nod-a"')
    assert mistake.allowed == "a node of the cluster: node-a, node-b; did you mean `node-a`?"
    assert found.warnings == ()


def test_a_cluster_without_nodes_says_so() -> None:
    [mistake] = compare(configured(("node-a", "192.0.2.1")), []).mistakes
    assert mistake.allowed == "a node of the cluster: it has none"


def test_a_node_that_never_takes_pods_is_refused() -> None:
    found = compare(
        configured(("node-a", "192.0.2.1")),
        [LiveNode("node-a", ("192.0.2.1",), taints=("dedicated=gpu:NoSchedule",))],
    )
    [mistake] = found.mistakes
    assert (mistake.key, mistake.given) == ("nodes[0].name", '"node-a"')
    assert "tolerates its taint dedicated=gpu:NoSchedule" in mistake.allowed
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("state", "said"),
    [({"ready": False}, "it is not Ready"), ({"schedulable": False}, "kubectl uncordon node-a")],
)
def test_a_node_that_takes_no_pods_for_now_is_only_said(state: dict[str, Any], said: str) -> None:
    """One node's outage is when the others need their `up`."""
    found = compare(configured(("node-a", "192.0.2.1")), [LiveNode("node-a", ("192.0.2.1",), **state)])
    assert found.mistakes == ()
    [warning] = found.warnings
    assert warning.startswith("nodes[0].name: given node-a; ")
    assert said in warning


def test_an_address_that_the_cluster_does_not_know_is_only_said() -> None:
    entries = (("node-a", "203.0.113.5", "192.0.2.1"), ("node-b", "192.0.2.2"))
    found = compare(configured(*entries), [NODE_A, NODE_B])
    assert found.mistakes == ()
    [warning] = found.warnings
    assert warning.startswith("nodes[0].address: given 203.0.113.5; the cluster does not know it for node-a")
    assert warning.endswith("translated to 192.0.2.1, one to one")


@pytest.mark.parametrize("address", ["203.0.113.5", "198.51.100.2"], ids=["unknown", "ExternalIP"])
def test_a_node_s_own_address_must_be_given_where_clients_reach_another(address: str) -> None:
    """Pods listen there, and policies name it."""
    found = compare(configured(("node-b", address)), [NODE_A, NODE_B])
    [mistake] = found.mistakes
    assert (mistake.key, mistake.given) == ("nodes[0].address", f'"{address}"')
    assert mistake.allowed.startswith("an InternalIP of node-b (192.0.2.2); ")
    assert "`internal_address`" in mistake.allowed
    assert found.warnings == ()


def test_an_internal_address_is_one_of_the_node_s_internal_ips() -> None:
    found = compare(configured(("node-b", "198.51.100.2", "10.0.0.9")), [NODE_A, NODE_B])
    [mistake] = found.mistakes
    assert (mistake.key, mistake.given) == ("nodes[0].internal_address", '"10.0.0.9"')
    assert mistake.allowed == "an InternalIP of node-b (192.0.2.2)"
    found = compare(configured(("node-b", "198.51.100.2", "192.0.2.1")), [NODE_A, NODE_B])
    [mistake] = found.mistakes
    assert (mistake.key, mistake.allowed) == (
        "nodes[0].internal_address",
        "an address of node-b: this one is node-a's",
    )


def test_the_address_of_another_node_is_refused() -> None:
    found = compare(configured(("node-a", "198.51.100.2")), [NODE_A, NODE_B])
    [mistake] = found.mistakes
    assert (mistake.key, mistake.given) == ("nodes[0].address", '"198.51.100.2"')
    assert mistake.allowed == "an address of node-a: this one is node-b's"
    assert found.warnings == ()


@pytest.mark.parametrize("preview", [True, False], ids=["preview", "up"])
def test_a_node_that_is_not_there_ends_the_program_before_anything_is_registered(
    kubeconfig: Path, preview: bool
) -> None:
    registered = Deployment()
    with pytest.raises(pulumi.RunError, match=r'nodes\[1\]\.name: given "node-b"; allowed: a node of the'):
        run(minimal_config(kubeconfig), preview=preview, nodes=[NODE_A], into=registered)
    assert registered == Deployment()


def test_a_cluster_that_does_not_answer_ends_the_program_likewise(kubeconfig: Path) -> None:
    registered = Deployment()
    no_answer = NoAnswer(Mistake("kubeconfig", "this", "that"))
    with pytest.raises(pulumi.RunError, match="has 1 mistake:\n  livekit-platform:kubeconfig: given this"):
        run(minimal_config(kubeconfig), nodes=no_answer, into=registered)
    assert registered == Deployment()


@pytest.mark.parametrize(("nodes", "warned"), [(2, True), (3, False)])
def test_three_sentinels_on_two_nodes_are_only_said(
    make_config: Any, nodes: int, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    live = [NODE_A, NODE_B, LiveNode("node-c", ("192.0.2.3",)), LiveNode("down", (), ready=False)]
    monkeypatch.setattr(live_nodes, "read", lambda *_: [*live[:nodes], live[-1]])
    live_nodes.check(make_config(redis={"kind": "sentinel"}))
    assert [warning.startswith("redis.kind: given sentinel, and 2 nodes") for warning in said] == [
        True
    ] * warned
    said.clear()
    live_nodes.check(make_config())
    assert said == []


@contextmanager
def api_server(status: int, answer: dict[str, Any]) -> Iterator[str]:
    """An address that answers every GET so; over plain HTTP, which a kubeconfig may name."""
    body = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v1/nodes"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            """Nothing on the test's output."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    with serving_in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"


def write_kubeconfig(path: Path, server: str) -> None:
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "known", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "known",
            }
        )
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {}),
        ({"unschedulable": True}, {"schedulable": False}),
        (
            {
                "taints": [
                    {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"},
                    {"key": "spare", "effect": "PreferNoSchedule"},
                    {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
                    {"key": "node-role.kubernetes.io/control-plane", "effect": "NoExecute"},
                ]
            },
            {"taints": ("dedicated=gpu:NoSchedule", "node-role.kubernetes.io/control-plane=:NoExecute")},
        ),
    ],
)
def test_nodes_are_read_as_the_api_server_gives_them(
    kubeconfig: Path, spec: dict[str, Any], expected: dict[str, Any]
) -> None:
    silent = {"metadata": {"name": "node-b"}, "spec": {}, "status": {"conditions": []}}
    answer = {"kind": "NodeList", "apiVersion": "v1", "items": [{**API_NODE, "spec": spec}, silent]}
    with api_server(200, answer) as server:
        write_kubeconfig(kubeconfig, server)
        assert read(kubeconfig, "known") == [
            LiveNode("node-a", ("192.0.2.1",), ("198.51.100.1",), **expected),
            LiveNode("node-b", (), ready=False),
        ]


@pytest.mark.parametrize(
    "content", ["", "no mapping", "{[", "clusters: 1", "contexts: [1]\ncurrent-context: x"]
)
def test_a_file_that_is_no_kubeconfig_is_named(kubeconfig: Path, content: str) -> None:
    kubeconfig.write_text(content)
    with pytest.raises(NoAnswer) as caught:
        read(kubeconfig, None)
    assert caught.value.mistake.key == "kubeconfig"
    assert caught.value.mistake.given == f'"{kubeconfig}"'
    assert caught.value.mistake.allowed.startswith("one that can be read; instead: ")


def test_a_context_that_is_not_there_is_named(kubeconfig: Path) -> None:
    write_kubeconfig(kubeconfig, "http://127.0.0.1:1")
    with pytest.raises(NoAnswer, match=r", context other; allowed: .*name other"):
        read(kubeconfig, "other")


def test_a_cluster_that_does_not_answer_is_named_with_the_reason(kubeconfig: Path) -> None:
    write_kubeconfig(kubeconfig, "http://127.0.0.1:1")
    with pytest.raises(NoAnswer, match=r"one of a cluster that answers; instead: .*Connection refused"):
        read(kubeconfig, None)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_is_the_cluster_s_own(kubeconfig: Path, status: int) -> None:
    with api_server(status, {"kind": "Status", "message": "no"}) as server:
        write_kubeconfig(kubeconfig, server)
        with pytest.raises(NoAnswer, match=f"one whose user may list nodes; instead: {status} "):
            read(kubeconfig, None)


def test_no_secret_of_the_kubeconfig_is_shown(kubeconfig: Path) -> None:
    write_kubeconfig(kubeconfig, "http://127.0.0.1:1")
    kubeconfig.write_text(kubeconfig.read_text().replace("token: t", "token: very-secret-token"))
    with pytest.raises(NoAnswer) as caught:
        read(kubeconfig, None)
    assert "very-secret-token" not in str(caught.value)
