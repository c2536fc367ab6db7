"""Load from inside the cluster, on the running stack: one report of two pods, and nothing left behind."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from common.waiting import wait_until
from loadtest.definition.profile import load_profile
from loadtest.definition.scenario import (
    Camera,
    Group,
    Metric,
    Publish,
    RunMetric,
    Scenario,
    Threshold,
)
from loadtest.job.cluster import LoadCluster
from loadtest.job.coordinator import remove_leftovers, run_in_cluster
from loadtest.job.manifests import NAMESPACE, OURS_SELECTOR, RUN_LABEL, Plan, Reach
from loadtest.job.planning import InCluster
from loadtest.result import Outcome, RunResult, Verdict
from loadtest.run.observer import ClientSecond, PhaseStarted, RunEvent
from loadtest.run.problems import CouldNotRun
from loadtest.targets.target import target_of_stack
from tests.deployment.kubectl import Kubectl
from tests.running import ClusterAccess, RunningStack, local
from tests.support.speed import scaled

_IMAGE_SECONDS = 600.0
_RUN_SECONDS = 240.0
_PICTURE = Camera(width=320, height=180, fps=15, simulcast=False)


def scenario(*, duration_s: float) -> Scenario:
    """A publisher and a viewer in each of two rooms."""
    return Scenario(
        name="test-job",
        title="two small rooms",
        duration_s=duration_s,
        settle_s=2,
        rooms=2,
        groups=(
            Group(name="creator", count=2, publish=Publish(camera=_PICTURE, microphone=True)),
            Group(name="viewers", count=2, subscribe=True),
        ),
        thresholds=(
            Threshold(metric=Metric.PICTURES, group="viewers", min=10),
            Threshold(metric=Metric.AGE_MAX_MS, group="viewers", max=3000),
            Threshold(metric=RunMetric.SFU_CORES_MAX, max=64),
        ),
    )


@dataclass
class Watcher:
    """An observer that keeps what it was told."""

    events: list[RunEvent] = field(default_factory=list)

    def __call__(self, event: RunEvent) -> None:
        self.events.append(event)

    def is_measuring(self) -> bool:
        return any(isinstance(event, PhaseStarted) and event.name == "measuring" for event in self.events)


@dataclass
class Running:
    """A run in a thread of its own."""

    stack: RunningStack
    image: str
    logs: Path
    watcher: Watcher = field(default_factory=Watcher)
    stop: threading.Event = field(default_factory=threading.Event)
    results: list[RunResult | Exception] = field(default_factory=list)

    def start(self, of: Scenario) -> None:
        self.thread = threading.Thread(target=self._run, args=(of,))
        self.thread.start()

    def _run(self, of: Scenario) -> None:
        try:
            self.results.append(
                run_in_cluster(
                    of,
                    load_profile("ideal"),
                    self.stack.outputs,
                    InCluster(2, self.image),
                    seed=1,
                    logs=self.logs,
                    observer=self.watcher,
                    stop=self.stop,
                )
            )
        except Exception as error:
            self.results.append(error)

    def until_it_measures(self) -> None:
        wait_until(
            lambda: self.watcher.is_measuring() or self.results,
            timeout=scaled(_RUN_SECONDS),
            describe="the run to measure",
        )

    def result(self) -> RunResult:
        self.thread.join(timeout=scaled(_RUN_SECONDS))
        [result] = self.results
        assert isinstance(result, RunResult), result
        return result


@pytest.fixture(scope="session")
def image(stack: RunningStack) -> str:
    assert stack.outputs.client_network, "the image is loaded into nodes of local/"
    return local("images-load", timeout=scaled(_IMAGE_SECONDS)).strip()


@pytest.fixture
def running(stack: RunningStack, image: str, tmp_path: Path) -> Iterator[Running]:
    made = Running(stack, image, tmp_path)
    yield made
    made.stop.set()
    made.thread.join(timeout=scaled(_RUN_SECONDS))


@pytest.fixture
def kubectl(cluster: ClusterAccess) -> Kubectl:
    return Kubectl(cluster)


def beside_a_busy_machine(result: RunResult) -> list[str]:
    """Why a run proves nothing, but for what else runs on this machine, which carries the cluster too."""
    busy = ("a machine with more processors", "(steal)")
    return [reason for reason in result.invalid if not any(words in reason for words in busy)]


def what_is_left(kubectl: Kubectl, stack: RunningStack) -> list[str]:
    """Objects of load tests in the cluster, and their rooms."""
    kinds = "namespaces,jobs,pods,secrets,networkpolicies,leases"
    left = kubectl.get(kinds, "--all-namespaces", f"--selector={OURS_SELECTOR}")
    with target_of_stack(stack.outputs) as target:
        rooms = [name for name in target.rooms.list_names() if re.match(r"load_[0-9a-f]{8}p", name)]
    return [f"{each['kind']} {each['metadata']['name']}" for each in left] + rooms


def pictures_of(viewer: str, result: RunResult) -> int:
    [client] = [client for client in result.clients if client.name == viewer]
    [video] = client.video
    return video.delivered


def pods(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """The run's pods, by the number that each has."""
    index = "batch.kubernetes.io/job-completion-index"
    found = kubectl.get("pods", "--namespace", NAMESPACE, f"--selector={RUN_LABEL}")
    return {each["metadata"]["labels"][index]: each for each in found}


def test_two_pods_give_one_report_and_leave_nothing(
    running: Running, stack: RunningStack, kubectl: Kubectl
) -> None:
    running.start(scenario(duration_s=10))
    running.until_it_measures()
    described = kubectl("describe", "jobs,pods", "--namespace", NAMESPACE).stdout
    [policy] = kubectl.get("networkpolicies", "--namespace", NAMESPACE)
    result = running.result()

    assert [check for check in result.checks if not check.passed] == []
    assert beside_a_busy_machine(result) == []
    assert result.verdict is (Verdict.INVALID if result.invalid else Verdict.PASSED)
    by_name = {client.name: client for client in result.clients}
    assert by_name.keys() == {"creator-1", "creator-2", "viewers-1", "viewers-2"}
    for number in (1, 2):
        [video] = by_name[f"viewers-{number}"].video
        assert video.publisher == f"creator-{number}"
        assert video.delivered > 100
        assert len(by_name[f"viewers-{number}"].seconds) >= 10
    assert by_name["viewers-1"].room != by_name["viewers-2"].room
    assert all(client.join.token_ms for client in result.clients), "tokens come from the token-api"
    assert {sample.node for sample in result.sfu} == {
        str(stack.outputs.address_of(url.split("/")[2].split(":")[0])) for url in stack.outputs.signal_urls
    }
    assert RunMetric.SFU_CORES_MAX in result.metrics
    assert result.generator
    assert "2 pods on " in result.environment.machine

    # While it went on: both pods were heard, under the names of the report.
    told = {event.client for event in running.watcher.events if isinstance(event, ClientSecond)}
    assert told == by_name.keys()
    for secret in (stack.outputs.livekit_api_secret, stack.outputs.api_service_key):
        assert secret.get_secret_value() not in described
        assert base64.b64encode(secret.get_secret_value().encode()).decode() not in described
        assert secret.get_secret_value() not in result.model_dump_json()
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", ())}
    assert {7880, 7882, 443} <= ports
    assert not {6443, 10250, 6789} & ports
    assert what_is_left(kubectl, stack) == []


@pytest.mark.long
def test_a_pod_that_is_killed_is_a_failed_check_and_the_other_goes_on(
    running: Running, stack: RunningStack, kubectl: Kubectl, disruptive: None
) -> None:
    running.start(scenario(duration_s=scaled(15)))
    running.until_it_measures()
    pod = pods(kubectl)["1"]
    [status] = pod["status"]["containerStatuses"]
    container = status["containerID"].rpartition("/")[2]
    kill = ["ctr", "--namespace=k8s.io", "tasks", "kill", "--signal", "SIGKILL", container]
    local("enter", pod["spec"]["nodeName"], "--", *kill, timeout=scaled(30))
    result = running.result()
    assert beside_a_busy_machine(result) == []
    assert result.verdict is (Verdict.INVALID if result.invalid else Verdict.FAILED)
    missed = {check.threshold: check.reason for check in result.checks if not check.passed}
    assert re.match(r"pod 1 on node\d: .*exit code 137", missed["pod 1 runs to its end"])
    lost = {client.name: client for client in result.clients if client.outcome is Outcome.DIED}
    assert lost.keys() == {"creator-2", "viewers-2"}
    assert lost["viewers-2"].seconds, "what it told before it was gone"
    assert pictures_of("viewers-1", result) > 100
    assert what_is_left(kubectl, stack) == []


@pytest.mark.long
def test_a_pod_that_the_cluster_ends_is_one_too_with_what_it_saw_until_then(
    running: Running, stack: RunningStack, kubectl: Kubectl
) -> None:
    running.start(scenario(duration_s=scaled(15)))
    running.until_it_measures()
    kubectl("delete", "pod", pods(kubectl)["1"]["metadata"]["name"], "--namespace", NAMESPACE, "--wait=false")
    result = running.result()
    assert beside_a_busy_machine(result) == []
    assert result.verdict is (Verdict.INVALID if result.invalid else Verdict.FAILED)
    missed = {check.threshold: check.reason for check in result.checks if not check.passed}
    assert re.match(r"pod 1 on node\d: the cluster ended it after \d+ s", missed["pod 1 runs to its end"])
    assert len(result.clients) == 4
    assert pictures_of("viewers-1", result) > 100
    assert what_is_left(kubectl, stack) == []


@pytest.mark.long
def test_an_interrupted_run_reports_what_there_is(
    running: Running, stack: RunningStack, kubectl: Kubectl
) -> None:
    running.start(scenario(duration_s=120))
    running.until_it_measures()
    running.stop.set()
    result = running.result()
    assert result.interrupted
    assert result.verdict is Verdict.INVALID
    assert len(result.clients) == 4
    assert what_is_left(kubectl, stack) == []


def test_pods_without_their_image_are_no_run_and_the_reason_is_the_cluster_s(
    stack: RunningStack, kubectl: Kubectl, running: Running
) -> None:
    running.image = "docker.io/livekit-platform/loadtest:never-built"
    running.start(scenario(duration_s=10))
    running.thread.join(timeout=scaled(_RUN_SECONDS))
    [error] = running.results
    assert isinstance(error, CouldNotRun)
    assert re.search(r"pods do not start.*(ErrImagePull|ImagePullBackOff)", str(error), re.DOTALL)
    assert what_is_left(kubectl, stack) == []


def test_what_a_dead_coordinator_left_is_taken_away(
    stack: RunningStack, kubectl: Kubectl, image: str, tmp_path: Path
) -> None:
    def plan(run_id: str) -> Plan:
        return Plan(
            run_id=run_id,
            namespace=NAMESPACE,
            pods=1,
            image=image,
            node_selector={},
            names={},
            trusts_own_ca=False,
            clients_per_pod=1,
            lasts_s=600,
            reach=Reach((), (), stack.outputs.namespace),
        )

    cluster = LoadCluster(stack.outputs.kubeconfig_path, connections=4)
    dead, alive = plan("dddddddd"), plan("aaaaaaaa")
    cluster.make_namespace(NAMESPACE)
    try:
        for each in (dead, alive):
            cluster.announce(each)
            cluster.start(each, assignment="{}", ca_certificate="")
        renewed_long_ago = json.dumps({"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}})
        kubectl("patch", "lease", dead.name, "--namespace", NAMESPACE, "--patch", renewed_long_ago)
        with target_of_stack(stack.outputs) as target:
            assert remove_leftovers(cluster, target) == [dead.run_id]
        left = what_is_left(kubectl, stack)
        assert not [each for each in left if dead.run_id in each]
        assert f"Job {alive.name}" in left
    finally:
        for each in (dead, alive):
            cluster.remove(each.run_id, NAMESPACE)
    assert what_is_left(kubectl, stack) == []
