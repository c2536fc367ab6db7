"""What runs in a pod: its share of the scenario by the same engine, told to the log as it goes on."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from common.waiting import wait_until
from loadtest.definition.profile import load_profile
from loadtest.job import shares
from loadtest.job.manifests import ASSIGNMENT_FILE, ORDERS_FILE
from loadtest.job.messages import Assignment, Began, Done, Orders, Ready, run_id_of
from loadtest.job.telling import Forwarder, Speaker
from loadtest.run.engine import run_scenario
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.target import Target, target_of_stack

_INDEX = "JOB_COMPLETION_INDEX"
# As long as the coordinator waits for all pods.
_ORDERS_SECONDS = 900.0


def main() -> None:
    """Run the share of this pod, and report it. Where that is not possible, the log says why."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    assignment = Assignment.model_validate_json(Path(ASSIGNMENT_FILE).read_text())
    index = int(os.environ[_INDEX])
    speaker = Speaker(sys.stdout)
    speaker.say(Ready())
    speaker.say(Began(late_s=_wait_for_the_start(stop)))
    with _heeding_orders(stop), _target(assignment) as target:
        forwarder = Forwarder(speaker)
        result = run_scenario(
            shares.share(assignment.scenario, assignment.pods, index),
            load_profile(assignment.profile),
            target,
            seed=assignment.seed + index,
            logs=_logs(),
            observer=forwarder,
            stop=stop,
            run_id=run_id_of(assignment.run_id, index),
        )
    forwarder.flush()
    # With the whole scenario: that is what the run is of.
    speaker.say(Done(result=result.model_copy(update={"scenario": assignment.scenario})))


def _wait_for_the_start(stop: threading.Event) -> float:
    """Until the time that the coordinator gives; how many seconds later it is.

    Raises:
        NeverHappened: it gives none.
        SystemExit: the pod is told to end.
    """

    def ordered() -> list[Orders]:
        if stop.is_set():
            raise SystemExit("told to end before the start")
        return _orders()

    [orders] = wait_until(ordered, timeout=_ORDERS_SECONDS, describe="the order to start", interval=0.1)
    time.sleep(max(0.0, orders.start_at - time.time()))
    return time.time() - orders.start_at


def _orders() -> list[Orders]:
    """What the pod was told last; nothing at first."""
    text = Path(ORDERS_FILE).read_text()
    return [Orders.model_validate_json(text)] if text else []


@contextmanager
def _heeding_orders(stop: threading.Event) -> Iterator[None]:
    """An order to stop sets the event, while the block runs."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            if any(orders.stop for orders in _orders()):
                stop.set()

    thread = threading.Thread(target=look, name="orders")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _target(assignment: Assignment) -> Iterator[Target]:
    """The stack as it is seen from here: names by the pod's hosts file, no bridge, no cluster, no metrics."""
    outputs = StackOutputs.model_validate_json(assignment.outputs)
    with target_of_stack(outputs) as target:
        yield replace(target, names={}, network=None, cluster=None, sfu_nodes=())


def _logs() -> Path:
    directory = Path.home() / "logs"
    directory.mkdir(exist_ok=True)
    return directory
