"""Two replicas of token-api on PostgreSQL: one is killed under load, and nothing promised is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from common.waiting import wait_until
from local.cluster.cluster import Cluster
from local.extra_images import bring
from local.images import catalog
from local.paths import Instance
from tests.deployment import token_api_pair
from tests.deployment.kubectl import Kubectl
from tests.deployment.token_api_pair import Pair
from tests.running import RunningStack

# tests/token_api/test_replicas.py tests the same with processes on this machine.
pytestmark = pytest.mark.long

_LOAD_SECONDS = 20.0
_THREADS = 4


@pytest.fixture(scope="module")
def pair(kubectl: Kubectl, stack: RunningStack, scratch: str, disruptive_session: None) -> Pair:
    cluster = Cluster.recorded(Instance.current())
    assert cluster is not None, "images are loaded into nodes that local/ made"
    return token_api_pair.start(
        kubectl,
        stack,
        scratch,
        token_api=catalog.token_api().reference,
        postgres=bring(cluster, catalog.postgres()),
    )


def test_both_replicas_are_on_one_database(pair: Pair) -> None:
    """Whichever answered, the others know."""
    assert len(pair.pods()) == 2
    made = [stream for stream, _ in pair.load(threads=2, seconds=2) if stream]
    assert len(made) > 4
    assert pair.missing(made) == []
    # It would say so.
    assert pair.missing(["00000000-0000-4000-8000-000000000000"]) != []


def test_a_replica_killed_under_load_loses_nothing_that_was_promised(pair: Pair) -> None:
    with ThreadPoolExecutor(1) as background:
        load = background.submit(pair.load, threads=_THREADS, seconds=_LOAD_SECONDS)
        first = pair.pods()
        # In the middle of it: there are answers before and after.
        wait_until(load.running, timeout=10, describe="the load to run")
        pair.kill(first[0])
        wait_until(
            lambda: len(pair.pods()) == 2 and first[0] not in pair.pods(),
            timeout=60,
            describe="another replica in its place",
            interval=1,
        )
        answers = load.result(timeout=_LOAD_SECONDS + 90)
    pair.wait_ready()
    made = [stream for stream, _ in answers if stream]
    reasons = sorted({str(reason) for stream, reason in answers if not stream})
    assert len(made) == len(set(made))
    assert len(made) > 10 * _THREADS, f"hardly anything was answered: {reasons}"
    # What was refused was refused for a moment, not until there were two again.
    assert len(answers) - len(made) < len(answers) / 4, reasons
    assert pair.missing(made) == []
