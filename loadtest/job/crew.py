"""The pods of a run as the coordinator knows them: by their status, and by what their logs tell."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from loadtest.definition.scenario import Scenario
from loadtest.job import shares
from loadtest.job.cluster import NOT_REACHED, LoadCluster, PodState
from loadtest.job.following import Follower
from loadtest.job.manifests import Plan
from loadtest.job.merge import PodPart
from loadtest.job.messages import (
    Acted,
    Began,
    ClientLost,
    ClientSeconds,
    Done,
    Orders,
    PhaseBegan,
    PodMessage,
    Ready,
)
from loadtest.result import RunResult, Second
from loadtest.run.announcing import Announcer
from loadtest.run.observer import ActionTaken, ClientEnded, ClientSecond, PhaseStarted

# The engine's word for the phase that figures are of.
MEASURING = "measuring"
_LOOK_SECONDS = 1.0
_LOG_SECONDS = 30.0
_SHOWN_LOG_LINES = 12


class CrewPod:
    """One pod. Its log's reader writes what it says; the coordinator's thread reads, and writes `state`."""

    def __init__(self, state: PodState, names: Mapping[str, str], announce: Announcer) -> None:
        self.state = state
        self.is_ready = False
        self.result: RunResult | None = None
        self.measured_from: datetime | None = None
        self.seconds: defaultdict[str, list[Second]] = defaultdict(list)
        self._names = names
        self._announce = announce

    @property
    def is_done(self) -> bool:
        return self.result is not None or self.state.is_over

    def hear(self, message: PodMessage) -> None:
        """Take what the pod said; what a person may want to see goes on to the observer."""
        match message:
            case Ready():
                self.is_ready = True
            case Began():
                pass  # how late it was, shows in its result
            case PhaseBegan(at=at, name=name, seconds=seconds):
                if name == MEASURING:
                    self.measured_from = at
                if self.state.index == 0:
                    self._announce(PhaseStarted(name, seconds))
            case Acted(at_s=at_s, what=what):
                self._announce(ActionTaken(at_s, f"pod {self.state.index}: {what}"))
            case ClientSeconds(seconds=together):
                for one in together:
                    self.seconds[one.client].append(one.second)
                    self._announce(ClientSecond(self._name(one.client), one.group, one.second))
            case ClientLost(client=client, group=group, reason=reason):
                self._announce(ClientEnded(self._name(client), group, reason))
            case Done(result=result):
                self.result = result

    def _name(self, client: str) -> str:
        return self._names.get(client, client)


class Crew:
    """All pods of a run."""

    def __init__(
        self, cluster: LoadCluster, plan: Plan, scenario: Scenario, *, announce: Announcer, logs: Path
    ) -> None:
        self._cluster = cluster
        self._plan = plan
        self._scenario = scenario
        self._announce = announce
        self._logs = logs
        self._pods: dict[int, CrewPod] = {}
        self._followers: dict[int, Follower] = {}
        self._looked = float("-inf")
        self._is_stopped = False

    @property
    def is_ready(self) -> bool:
        return len(self._pods) == self._plan.pods and all(pod.is_ready for pod in self._pods.values())

    @property
    def is_done(self) -> bool:
        """Each pod has reported, or has ended."""
        return all(pod.is_done for pod in self._pods.values())

    @property
    def troubles(self) -> list[str]:
        """Of pods that did not start and never will, or have failed."""
        return [
            f"pod {index}: {pod.state.trouble or 'failed'}. {self._said(index)}"
            for index, pod in self._pods.items()
            if pod.state.phase == "Failed" or "Image" in pod.state.trouble
        ]

    @property
    def states(self) -> Iterator[PodState]:
        return (pod.state for pod in self._pods.values())

    def look(self, *, at_once: bool = False) -> None:
        """At the pods' status, once a second at most."""
        if not at_once and time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            states = self._cluster.pods(self._plan)
        except NOT_REACHED:
            return  # an API server that is busy for a moment is no reason to lose a run
        for state in states:
            self._meet(state)
        there = {state.name for state in states}
        for index, pod in self._pods.items():
            if pod.state.name not in there and not pod.state.is_over:
                trouble = "; ".join(filter(None, ("it was deleted", pod.state.trouble)))
                pod.state = replace(pod.state, phase="Failed", trouble=trouble)
            if pod.state.is_over:
                self._followers[index].end()

    def tell(self, orders: Orders) -> None:
        self._is_stopped = orders.stop
        for pod in self._pods.values():
            # A pod that is gone needs no order; that it is gone is noticed by its status.
            with suppress(*NOT_REACHED):
                self._cluster.tell(self._plan, pod.state.name, orders)

    def finish(self) -> None:
        """Read what is left of the logs."""
        for follower in self._followers.values():
            follower.end()
        for follower in self._followers.values():
            follower.join(timeout=_LOG_SECONDS)

    def part(self, index: int) -> PodPart:
        """What a pod gave, after `finish`."""
        pod = self._pods.get(index)
        if pod is None:
            return PodPart(index=index, result=None, reason="it never came to be")
        reason = ""
        if pod.result is not None and pod.result.interrupted and not self._is_stopped:
            # Its SIGTERM came from the cluster: it was deleted, evicted, or its node is being emptied.
            reason = f"the cluster ended it after {pod.result.lasted_s:.0f} s. {pod.state.trouble}".strip()
        elif pod.result is None:
            ended = pod.state.trouble or ("it ended" if pod.state.is_over else "it did not end in time")
            reason = f"{ended}. {self._said(index)}".strip()
        return PodPart(
            index=index,
            result=pod.result,
            reason=reason,
            node=pod.state.node,
            measured_from=pod.measured_from,
            seconds={client: tuple(seconds) for client, seconds in pod.seconds.items()},
        )

    def _meet(self, state: PodState) -> None:
        known = self._pods.get(state.index)
        if known is not None:
            if known.state.name == state.name:
                known.state = state
            return
        names = shares.clients(self._scenario, self._plan.pods, state.index)
        pod = self._pods[state.index] = CrewPod(state, names, self._announce)
        self._followers[state.index] = Follower(
            self._cluster,
            self._plan,
            state.name,
            on_message=pod.hear,
            text=self._logs / f"pod-{state.index}.log",
        )

    def _said(self, index: int) -> str:
        said = self._followers[index].said.strip().splitlines()[-_SHOWN_LOG_LINES:]
        return "\n".join(["The end of its log:", *said]) if said else ""
