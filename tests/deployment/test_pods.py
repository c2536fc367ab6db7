"""Every pod of the platform: who it runs as, what it may, what image it is, and whether names resolve."""

from __future__ import annotations

import json
from typing import Any

import pytest
import testinfra.host

from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack, local


@pytest.fixture(scope="module")
def pods(kubectl: Kubectl, platform: str) -> list[dict[str, Any]]:
    """Those that run: a Job's have ended."""
    return kubectl.get("pods", "-n", platform, "--field-selector=status.phase=Running")


def _statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Of every container that runs: a pod's sidecars are init containers to Kubernetes."""
    found = [*pod["status"].get("initContainerStatuses", []), *pod["status"]["containerStatuses"]]
    return [status for status in found if "running" in status["state"]]


def _exec(kubectl: Kubectl, platform: str, pod: str, container: str, *words: str) -> str:
    return kubectl("-n", platform, "exec", pod, "-c", container, "--", *words).stdout


def test_every_process_runs_as_nobody_with_no_capability_and_no_way_to_more(
    pods: list[dict[str, Any]], nodes: list[testinfra.host.Host]
) -> None:
    """As the kernel sees it, not as the manifest says it."""
    for node in nodes:
        containers = {
            status["containerID"].removeprefix("containerd://"): f"{pod['metadata']['name']}/{status['name']}"
            for pod in pods
            if pod["spec"]["nodeName"] == node.backend.get_hostname()
            for status in _statuses(pod)
        }
        found = _first_processes(node)
        for container, where in containers.items():
            facts = found[container]
            assert "0" not in facts["Uid"].split(), f"{where} runs as root"
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(facts[kind], 16) == 0, f"{where} has {kind} {facts[kind]}"
            assert facts["NoNewPrivs"] == "1", where
            assert facts["Seccomp"] == "2", f"{where} runs without a seccomp filter"


def _first_processes(node: testinfra.host.Host) -> dict[str, dict[str, str]]:
    """/proc/<pid>/status of each container's first process, by the container's id; in two commands."""
    tasks = [line.split() for line in node.check_output("ctr -n k8s.io task ls").splitlines()[1:]]
    pids = {container: pid for container, pid, *_ in tasks}
    # Some may have ended since.
    files = " ".join(f"/proc/{pid}/status" for pid in pids.values())
    lines = node.run(f"grep -sH '' {files}").stdout
    shown: dict[str, dict[str, str]] = {}
    for line in lines.splitlines():
        path, _, fact = line.partition(":")
        name, _, value = fact.partition(":\t")
        shown.setdefault(path.split("/")[2], {})[name] = value
    return {container: shown[pid] for container, pid in pids.items() if pid in shown}


def test_every_container_runs_the_image_that_was_built(
    stack: RunningStack, pods: list[dict[str, Any]], disruptive_session: None
) -> None:
    """By digest: a name alone could be an older image that was left on the node."""
    built = json.loads(local("images", timeout=60))
    statuses = [status for pod in pods for status in _statuses(pod)]
    ours = [status for status in statuses if status["image"] in built]
    # Where a registry answers, upstream's images are pulled; what is ours is built in any case.
    assert {"token-api", "exporter"} <= {status["name"] for status in ours}
    for status in ours:
        running = status["imageID"].rpartition("@")[2]
        assert running in built[status["image"]].values(), f"{status['name']} runs {running}"


def test_no_pod_holds_a_token_of_the_cluster(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        name = pod["metadata"]["name"]
        assert pod["spec"].get("automountServiceAccountToken") is False, name
        assert pod["spec"]["serviceAccountName"] != "default", name
        for volume in pod["spec"].get("volumes", []):
            sources = volume.get("projected", {}).get("sources", [])
            assert not any("serviceAccountToken" in source for source in sources), name


def test_every_pod_belongs_to_a_priority_class_of_the_platform(
    kubectl: Kubectl, platform: str, pods: list[dict[str, Any]]
) -> None:
    classes = {item["metadata"]["name"]: item["value"] for item in kubectl.get("priorityclasses")}
    for pod in pods:
        given = pod["spec"].get("priorityClassName", "")
        assert given.startswith(f"{platform}-"), f"{pod['metadata']['name']}: {given!r}"
        assert classes[given] > 0
    assert classes[f"{platform}-media"] > classes[f"{platform}-api"]


def test_what_runs_twice_runs_on_two_nodes(pods: list[dict[str, Any]]) -> None:
    for name in ("livekit-server", "coturn", "edge"):
        nodes = [
            pod["spec"]["nodeName"]
            for pod in pods
            if pod["metadata"]["labels"]["app.kubernetes.io/name"] == name
        ]
        assert len(nodes) == len(set(nodes)) == 2, f"{name}: {nodes}"


def test_names_of_the_platform_resolve_in_its_pods(
    stack: RunningStack, kubectl: Kubectl, platform: str, pods: list[dict[str, Any]]
) -> None:
    [pod, *_] = [
        pod["metadata"]["name"]
        for pod in pods
        if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "token-api"
    ]
    script = "import json, socket, sys; print(json.dumps([socket.gethostbyname(n) for n in sys.argv[1:]]))"
    services = kubectl.get("services", "-n", platform)
    wanted = {
        f"{service['metadata']['name']}.{platform}.svc": service["spec"]["clusterIP"]
        for service in services
        if service["spec"]["clusterIP"] != "None"
    }
    printed = _exec(kubectl, platform, pod, "token-api", "python3", "-c", script, *wanted)
    assert dict(zip(wanted, json.loads(printed), strict=True)) == wanted
