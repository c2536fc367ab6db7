"""A run inside the cluster: pods are made, started together, followed and taken away; one result is left."""

from __future__ import annotations

import json
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

from common.waiting import NeverHappened, wait_until
from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import Scenario
from loadtest.job import shares
from loadtest.job.cluster import NOT_REACHED, LoadCluster
from loadtest.job.crew import Crew
from loadtest.job.judging import judged
from loadtest.job.manifests import Plan
from loadtest.job.merge import NoParts, merge
from loadtest.job.messages import Assignment, Orders
from loadtest.job.planning import PODS_SECONDS, InCluster, lasts_s, plan_of, revealed
from loadtest.result import RunResult, SfuSample
from loadtest.run.announcing import Announcer
from loadtest.run.clock import RunClock
from loadtest.run.observer import Observer, PhaseStarted, RunStarted
from loadtest.run.problems import CouldNotRun
from loadtest.run.sampling import SfuSampler
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.rooms import TargetUnusable
from loadtest.targets.target import Target, target_of_stack

# From the order to the start: an annotation is in the pod's file within a second.
_LEAD_SECONDS = 3.0
_STOP_SECONDS = 45.0
_RENEW_SECONDS = 10.0
_SAMPLE_SECONDS = 2.0
_BEAT_SECONDS = 0.1


def run_in_cluster(
    scenario: Scenario,
    profile: NetworkProfile,
    outputs: StackOutputs,
    request: InCluster,
    *,
    seed: int,
    logs: Path,
    observer: Observer,
    stop: threading.Event,
) -> RunResult:
    """Run `scenario` by pods in the stack's own cluster. What was made is taken away, whatever happens.

    Args:
        logs: directory for the end of each pod's log.

    Raises:
        CouldNotRun: what was asked for cannot be done there, or the pods did not start, with the reason.
    """
    shares.refuse_what_pods_cannot(scenario, profile.name, request.pods)
    cluster = LoadCluster(outputs.kubeconfig_path, connections=request.pods + 8)
    announce = Announcer(observer)
    with target_of_stack(outputs) as target:
        try:
            remove_leftovers(cluster, target)
            run_id = secrets.token_hex(4)
            plan = plan_of(scenario, outputs, target, request=request, cluster=cluster, run_id=run_id)
            assignment = Assignment(
                run_id=run_id,
                pods=plan.pods,
                outputs=revealed(outputs),
                scenario=scenario,
                profile=profile.name,
                seed=seed,
            )
            announce(RunStarted(scenario, profile.name, f"{target.description}, from {plan.pods} pods"))
            crew = Crew(cluster, plan, scenario, announce=announce, logs=logs)
            run = _Run(cluster, plan, target, crew=crew, announce=announce, stop=stop)
            samples = run.through(assignment, ca_certificate=outputs.ca_certificate)
        except NOT_REACHED as error:
            raise CouldNotRun(f"the cluster's API: {_words_of(error)}") from error
    parts = [crew.part(index) for index in range(plan.pods)]
    try:
        whole = merge(scenario, profile.name, parts, image=request.image)
        whole = whole.model_copy(update={"seed": seed})
    except NoParts as error:
        raise CouldNotRun(f"no pod gave a result: {error}") from error
    return judged(whole, parts, samples, was_stopped=stop.is_set())


def remove_leftovers(cluster: LoadCluster, target: Target) -> list[str]:
    """Take away the runs whose coordinator is gone, with their rooms; gives their ids."""
    abandoned = [run for run in cluster.runs() if run.abandoned]
    for run in abandoned:
        cluster.remove(run.run_id, run.namespace)
        _delete_rooms(target, run.run_id)
    return [run.run_id for run in abandoned]


class _Run:
    """One run from its first object in the cluster to its last."""

    def __init__(
        self,
        cluster: LoadCluster,
        plan: Plan,
        target: Target,
        *,
        crew: Crew,
        announce: Announcer,
        stop: threading.Event,
    ) -> None:
        self._cluster = cluster
        self._plan = plan
        self._target = target
        self._crew = crew
        self._announce = announce
        self._stop = stop
        self._renewed = self._sampled = float("-inf")
        self._sampler = SfuSampler(target.sfu_nodes)
        self._samples: list[SfuSample] = []

    def through(self, assignment: Assignment, *, ca_certificate: str) -> tuple[SfuSample, ...]:
        """All of it; gives what was seen of the SFU nodes meanwhile."""
        self._announce(PhaseStarted(f"starting {self._plan.pods} pods"))
        try:
            self._make(assignment, ca_certificate)
            self._wait_until_ready()
            self._follow(lasts_s(assignment.scenario))
        finally:
            self._announce(PhaseStarted("removing the pods"))
            self._crew.look(at_once=True)
            self._crew.finish()
            self._cluster.remove(self._plan.run_id, self._plan.namespace)
            _delete_rooms(self._target, self._plan.run_id)
        return tuple(self._samples)

    def _make(self, assignment: Assignment, ca_certificate: str) -> None:
        self._cluster.make_namespace(self._plan.namespace)
        self._cluster.announce(self._plan)
        self._cluster.start(
            self._plan, assignment=assignment.model_dump_json(), ca_certificate=ca_certificate
        )

    def _wait_until_ready(self) -> None:
        def ready() -> bool:
            if self._stop.is_set():
                raise CouldNotRun("interrupted before the pods had started")
            self._renew()
            self._crew.look()
            if troubles := self._crew.troubles:
                others = f" ({len(troubles) - 1} more have such troubles)" if troubles[1:] else ""
                raise CouldNotRun(f"pods do not start{others}: {troubles[0]}")
            return self._crew.is_ready

        try:
            wait_until(ready, timeout=PODS_SECONDS, describe="all pods to be ready", interval=_BEAT_SECONDS)
        except NeverHappened as error:
            said = [*(state.trouble for state in self._crew.states), self._cluster.events(self._plan)]
            why = "; ".join(filter(None, said)) or "the cluster does not say why"
            raise CouldNotRun(f"waited {PODS_SECONDS:g} s for the pods to start: {why}") from error

    def _follow(self, seconds: float) -> None:
        """From the common start until every pod has reported or has ended."""
        start_at = time.time() + _LEAD_SECONDS
        clock = RunClock(RunClock().monotonic_ms(_LEAD_SECONDS))
        self._crew.tell(Orders(start_at=start_at))
        limit = time.monotonic() + _LEAD_SECONDS + seconds
        is_stopping = False
        while not self._crew.is_done and time.monotonic() < limit:
            if self._stop.is_set() and not is_stopping:
                is_stopping = True
                limit = min(limit, time.monotonic() + _STOP_SECONDS)
                self._crew.tell(Orders(start_at=start_at, stop=True))
            self._renew()
            self._crew.look()
            self._sample(clock)
            time.sleep(_BEAT_SECONDS)

    def _renew(self) -> None:
        if time.monotonic() - self._renewed >= _RENEW_SECONDS:
            self._renewed = time.monotonic()
            with suppress(*NOT_REACHED):  # it lasts for several times that long
                self._cluster.renew(self._plan)

    def _sample(self, clock: RunClock) -> None:
        if time.monotonic() - self._sampled >= _SAMPLE_SECONDS:
            self._sampled = time.monotonic()
            samples, _ = self._sampler.sample(clock.now_s)
            self._samples += samples


def _delete_rooms(target: Target, run_id: str) -> None:
    """Those that pods could not delete any more; empty ones go by themselves, so a failure is no harm."""
    with suppress(TargetUnusable):
        left = [name for name in target.rooms.list_names() if name.startswith(f"load_{run_id}p")]
        target.delete_rooms(left)


def _words_of(error: Exception) -> str:
    """What the API server said, if it was one."""
    body = getattr(error, "body", None)
    try:
        return str(json.loads(body)["message"]) if body else str(error)
    except (ValueError, KeyError, TypeError):
        return str(error)
