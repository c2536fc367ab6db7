"""From a scenario and a stack to what the cluster is told; reads the cluster, makes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from loadtest.definition.scenario import Scenario
from loadtest.job import shares
from loadtest.job.cluster import LoadCluster
from loadtest.job.manifests import NAMESPACE, Plan, Reach
from loadtest.run.plan import due_times
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.target import Target

# Until all pods are there, with the image pulled.
PODS_SECONDS = 300.0
# For starting clients, and for collecting and reporting.
_SPARE_SECONDS = 240.0


@dataclass(frozen=True)
class InCluster:
    """What the command line says of a run inside a cluster.

    Attributes:
        image: of the load generator, as nodes pull it or have it.
        node_selector: labels of the nodes that may carry the pods.
        namespace: made where it is not there.
    """

    pods: int
    image: str
    node_selector: Mapping[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE


def plan_of(
    scenario: Scenario,
    outputs: StackOutputs,
    target: Target,
    *,
    request: InCluster,
    cluster: LoadCluster,
    run_id: str,
) -> Plan:
    """The run as the cluster is told it, with what its pods must reach."""
    fullest = max(len(shares.clients(scenario, request.pods, index)) for index in range(request.pods))
    servers = [cluster.ports_of(outputs.namespace, chart) for chart in ("livekit-server", "coturn")]
    return Plan(
        run_id=run_id,
        namespace=request.namespace,
        pods=request.pods,
        image=request.image,
        node_selector=request.node_selector,
        names=target.names,
        trusts_own_ca=bool(outputs.ca_certificate),
        clients_per_pod=fullest,
        lasts_s=PODS_SECONDS + lasts_s(scenario),
        reach=Reach(
            servers=tuple(server for server in servers if server.ports),
            edge=outputs.edge_addresses,
            edge_namespace=outputs.namespace,
        ),
    )


def lasts_s(scenario: Scenario) -> float:
    """How long a run may take from its start, at most, in seconds."""
    arrivals = [due for group in scenario.groups for due in due_times(group.arrival, group.count)]
    api = scenario.api.duration_s + scenario.api.timeout_s if scenario.api else 0.0
    media = scenario.first_media_s + scenario.settle_s + scenario.duration_s
    return max(arrivals, default=0.0) + media + api + _SPARE_SECONDS


def revealed(outputs: StackOutputs) -> str:
    """The outputs as JSON with their secrets, for a Secret; without what only this machine has."""
    values = outputs.model_dump(mode="json")
    in_clear = {name: value.get_secret_value() for name, value in outputs if isinstance(value, SecretStr)}
    return json.dumps({**values, **in_clear, "client_network": None, "browser_urls": None})
