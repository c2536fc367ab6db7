"""The configured nodes beside the cluster's own: what only the cluster can refute.

Everything else about the configuration is known without it. A node that is not there, or takes no pods,
would show after minutes, as pods that wait for ever in a half-made stack; an address that is not the node's
own only in calls that fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import pulumi
import urllib3.exceptions
import yaml

from livekit_platform.config import Node, PlatformConfig
from livekit_platform.config_loader import describe
from livekit_platform.mistakes import Mistake

# To connect, and to wait for the answer.
_TIMEOUT_SECONDS = (10.0, 20.0)
# What keeps a pod away, or drives it out; PreferNoSchedule does neither.
_REFUSING_EFFECTS = ("NoSchedule", "NoExecute")
# Kubernetes' own, which say again what the condition and `unschedulable` say.
_STATE_TAINTS = "node.kubernetes.io/"
_SHOWN_CHARACTERS = 300
_SENTINELS = 3
# The library has no types.
_kubernetes: Any = kubernetes


@dataclass(frozen=True)
class LiveNode:
    """A node as the cluster knows it.

    Attributes:
        internal: its InternalIP addresses.
        external: its ExternalIP addresses, as far as the cluster knows any.
        taints: of those that keep the platform's pods away, as `kubectl describe node` shows them.
    """

    name: str
    internal: tuple[str, ...]
    external: tuple[str, ...] = ()
    ready: bool = True
    schedulable: bool = True
    taints: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*self.internal, *self.external)


@dataclass(frozen=True)
class Findings:
    """What speaks against the configured nodes, and what only looks odd."""

    mistakes: tuple[Mistake, ...] = ()
    warnings: tuple[str, ...] = ()


class NoAnswer(Exception):
    """The cluster could not be asked; `mistake` says with what, and why not."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake
        super().__init__(f"{mistake.key}: given {mistake.given}; allowed: {mistake.allowed}")


def check(config: PlatformConfig) -> None:
    """Compare the configured nodes with the live ones; say what looks odd.

    Raises:
        pulumi.RunError: with every mistake in one message, as for the configuration itself.
    """
    try:
        live = read(config.kubeconfig, config.context)
    except NoAnswer as error:
        raise pulumi.RunError(describe([error.mistake], pulumi.get_stack())) from error
    found = compare(config.nodes, live)
    for warning in (*found.warnings, *_too_few_for_sentinel(config, live)):
        pulumi.log.warn(warning)
    if found.mistakes:
        raise pulumi.RunError(describe(list(found.mistakes), pulumi.get_stack()))


def compare(configured: Sequence[Node], live: Sequence[LiveNode]) -> Findings:
    """What the cluster's nodes say about the configured ones."""
    known = {node.name: node for node in live}
    mistakes: list[Mistake] = []
    warnings: list[str] = []
    for index, node in enumerate(configured):
        key = f"nodes[{index}]"
        found = known.get(node.name)
        misplaced = list(_address_of_another(key, node, live))
        mistakes.extend(misplaced)
        if found is None:
            mistakes.append(Mistake(f"{key}.name", f'"{node.name}"', _existing(node.name, list(known))))
            continue
        mistakes.extend(Mistake(f"{key}.name", f'"{node.name}"', allowed) for allowed in _closed(found))
        warnings.extend(f"{key}.name: given {node.name}; {state}" for state in _resting(found))
        if not misplaced:
            mistakes.extend(_not_its_own(key, node, found))
        if node.internal_address is not None and not _is_known(node.address, live):
            own = ", ".join(found.addresses) or "none"
            warnings.append(
                f"{key}.address: given {node.address}; the cluster does not know it for {node.name} ({own}); "
                f"right only where it is translated to {node.internal_address}, one to one"
            )
    return Findings(tuple(mistakes), tuple(warnings))


def _is_known(address: IPv4Address, live: Sequence[LiveNode]) -> bool:
    return any(str(address) in node.addresses for node in live)


def _too_few_for_sentinel(config: PlatformConfig, live: Sequence[LiveNode]) -> Iterator[str]:
    open_nodes = [node for node in live if node.ready and node.schedulable and not node.taints]
    if config.redis.kind == "sentinel" and len(open_nodes) < _SENTINELS:
        yield (
            f"redis.kind: given sentinel, and {len(open_nodes)} nodes take pods: two of {_SENTINELS} "
            "Sentinels share one, and its end leaves no majority for a failover"
        )


def _existing(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"a node of the cluster: {', '.join(sorted(known)) or 'it has none'}{hint}"


def _resting(node: LiveNode) -> Iterator[str]:
    """Why pods do not start on a node for now: it may be back soon, and the others need their `up`."""
    if not node.ready:
        yield "it is not Ready: nothing starts there until it is"
    if not node.schedulable:
        yield f"it is cordoned: nothing starts there until `kubectl uncordon {node.name}`"


def _closed(node: LiveNode) -> Iterator[str]:
    """Why pods never start on a node that is there."""
    for taint in node.taints:
        yield f"a node that takes pods: no pod of the platform tolerates its taint {taint}"


def _address_of_another(key: str, node: Node, live: Sequence[LiveNode]) -> Iterator[Mistake]:
    for field, address in (("address", node.address), ("internal_address", node.internal_address)):
        for other in live:
            if other.name != node.name and str(address) in other.addresses:
                yield Mistake(
                    f"{key}.{field}",
                    f'"{address}"',
                    f"an address of {node.name}: this one is {other.name}'s",
                )


def _not_its_own(key: str, node: Node, found: LiveNode) -> Iterator[Mistake]:
    """Pods on the node's network listen at its InternalIP, and come from there."""
    if str(node.inside) in found.internal:
        return
    own = f"an InternalIP of {node.name} ({', '.join(found.internal) or 'it has none'})"
    if node.internal_address is not None:
        yield Mistake(f"{key}.internal_address", f'"{node.inside}"', own)
    else:
        allowed = f"{own}; where clients reach it at another, `internal_address` gives that beside it"
        yield Mistake(f"{key}.address", f'"{node.inside}"', allowed)


def read(kubeconfig: Path, context: str | None) -> list[LiveNode]:
    """All nodes of the cluster.

    Raises:
        NoAnswer: the kubeconfig is none, the cluster does not answer, or it does not say.
    """
    given = f'"{kubeconfig}"' + (f", context {context}" if context else "")
    try:
        api = _kubernetes.config.new_client_from_config(
            str(kubeconfig), context=context, persist_config=False
        )
    # The library takes a file of the wrong shape apart without looking.
    except (_kubernetes.config.ConfigException, yaml.YAMLError, TypeError, AttributeError, KeyError) as error:
        raise _no_answer(given, "one that can be read", error) from error
    # More tries only make a wrong address take longer to be named.
    api.configuration.retries = False
    try:
        with _kubernetes.client.ApiClient(api.configuration) as client:
            listed = _kubernetes.client.CoreV1Api(client).list_node(_request_timeout=_TIMEOUT_SECONDS)
    except _kubernetes.client.ApiException as error:
        # Without a status it never came to an answer: the library passes TLS' own complaint on so.
        wanted = "one whose user may list nodes" if error.status else "one of a cluster that it can trust"
        raise _no_answer(given, wanted, f"{error.status or ''} {error.reason}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _no_answer(given, "one of a cluster that answers", error) from error
    return [from_object(node) for node in listed.items]


def _no_answer(given: str, wanted: str, reason: object) -> NoAnswer:
    words = " ".join(str(reason).split())
    return NoAnswer(Mistake("kubeconfig", given, f"{wanted}; instead: {words[:_SHOWN_CHARACTERS]}"))


def _addresses(node: Any, kind: str) -> tuple[str, ...]:
    return tuple(entry.address for entry in node.status.addresses or [] if entry.type == kind)


def from_object(node: Any) -> LiveNode:
    """A node object of the client library."""
    conditions = {condition.type: condition.status for condition in node.status.conditions or []}
    return LiveNode(
        name=node.metadata.name,
        internal=_addresses(node, "InternalIP"),
        external=_addresses(node, "ExternalIP"),
        ready=conditions.get("Ready") == "True",
        schedulable=not node.spec.unschedulable,
        taints=tuple(
            f"{taint.key}={taint.value or ''}:{taint.effect}"
            for taint in node.spec.taints or []
            if taint.effect in _REFUSING_EFFECTS and not taint.key.startswith(_STATE_TAINTS)
        ),
    )
