"""The objects of a run: no more rights than it needs, no secret in sight, and nothing that stays."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from loadtest.job import manifests
from loadtest.job.manifests import Plan, PodPorts, Reach
from loadtest.job.messages import Orders

_NODE = IPv4Address("192.0.2.11")
PLAN = Plan(
    run_id="0a1b2c3d",
    namespace="livekit-load",
    pods=3,
    image="registry.example.com/loadtest:1",
    node_selector={"pool": "load"},
    names={"sfu.lk.example.com": _NODE},
    trusts_own_ca=True,
    clients_per_pod=4,
    lasts_s=345.6,
    reach=Reach(
        servers=(PodPorts((_NODE,), (("TCP", 7880), ("UDP", 7882))),),
        edge=(IPv4Address("192.0.2.12"),),
        edge_namespace="livekit",
    ),
)
OWNER = manifests.owner_of({"metadata": {"name": PLAN.name, "uid": "u-1"}})


def pod_spec(plan: Plan = PLAN) -> Any:
    return manifests.job(plan)["spec"]["template"]["spec"]


def test_each_pod_runs_once_and_takes_no_other_with_it() -> None:
    spec = manifests.job(PLAN)["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (3, 3, "Indexed")
    assert spec["backoffLimitPerIndex"] == 0
    assert "backoffLimit" not in spec
    assert pod_spec()["restartPolicy"] == "Never"


def test_nothing_of_it_stays_when_nobody_is_left_to_delete_it() -> None:
    spec = manifests.job(PLAN)["spec"]
    assert spec["activeDeadlineSeconds"] == 345
    assert spec["ttlSecondsAfterFinished"] > 0
    secret = manifests.secret(PLAN, OWNER, assignment="{}", ca_certificate="")
    for owned in (secret, manifests.network_policy(PLAN, OWNER)):
        assert owned["metadata"]["ownerReferences"] == [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "load-0a1b2c3d", "uid": "u-1"}
        ]


def test_pods_may_do_nothing_that_the_strictest_standard_forbids() -> None:
    spec = pod_spec()
    [container] = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = manifests.namespace("livekit-load")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_secrets_are_in_the_secret_alone() -> None:
    secret = manifests.secret(PLAN, OWNER, assignment="the-key", ca_certificate="the-ca")
    assert base64.b64decode(secret["data"]["assignment.json"]) == b"the-key"
    volumes = {volume["name"]: volume for volume in pod_spec()["volumes"]}
    assert volumes["assignment"]["secret"] == {"secretName": PLAN.name, "defaultMode": 0o440}
    variables = {variable["name"] for variable in pod_spec()["containers"][0]["env"]}
    assert variables == {"HOME", "SSL_CERT_FILE"}


def test_memory_is_asked_for_by_the_number_of_clients() -> None:
    def mib(clients: int) -> int:
        resources = pod_spec(replace(PLAN, clients_per_pod=clients))["containers"][0]["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
        assert "cpu" not in resources["limits"]
        return int(resources["limits"]["memory"].removesuffix("Mi"))

    assert mib(10) - mib(9) == mib(2) - mib(1) > 0


def test_pods_reach_what_clients_reach_and_nothing_reaches_them() -> None:
    spec = manifests.network_policy(PLAN, OWNER)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert spec["podSelector"]["matchLabels"][manifests.RUN_LABEL] == PLAN.run_id
    servers, edge, edge_pods = spec["egress"]
    assert servers == {
        "to": [{"ipBlock": {"cidr": "192.0.2.11/32"}}],
        "ports": [{"protocol": "TCP", "port": 7880}, {"protocol": "UDP", "port": 7882}],
    }
    assert edge["to"] == [{"ipBlock": {"cidr": "192.0.2.12/32"}}]
    [pods] = edge_pods["to"]
    assert pods["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "livekit"}
    assert pods["podSelector"]


def test_an_edge_that_dns_leads_to_is_reached_by_dns() -> None:
    by_name = replace(PLAN, reach=replace(PLAN.reach, edge=()), names={})
    _, dns, https = manifests.network_policy(by_name, OWNER)["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert https == {"ports": [{"protocol": "TCP", "port": 443}]}
    assert pod_spec(by_name)["hostAliases"] == []


def test_orders_go_into_the_file_that_pods_read() -> None:
    patch = manifests.orders_patch(Orders(start_at=12.5, stop=True))
    [(name, value)] = patch["metadata"]["annotations"].items()
    assert json.loads(value) == {"start_at": 12.5, "stop": True}
    [volume] = [volume for volume in pod_spec()["volumes"] if volume["name"] == "orders"]
    [item] = volume["downwardAPI"]["items"]
    assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['{name}']"
    [mount] = [m for m in pod_spec()["containers"][0]["volumeMounts"] if m["name"] == "orders"]
    assert f"{mount['mountPath']}/{item['path']}" == manifests.ORDERS_FILE
