"""Rules over more than one field. Each runs where the sections that it reads are valid by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from livekit_platform.config import LiveKit, Node, Ports, Secrets
from livekit_platform.ports import broken_rules


@dataclass(frozen=True)
class Mistake:
    """One refused value: its key without the project's prefix, what was given, and what is allowed."""

    key: str
    given: str
    allowed: str


def _nodes_differ(nodes: Sequence[Node]) -> Iterator[Mistake]:
    for field in ("name", "address"):
        seen: dict[object, int] = {}
        for index, node in enumerate(nodes):
            value = getattr(node, field)
            if value in seen:
                allowed = f"a {field} that nodes[{seen[value]}] does not have"
                yield Mistake(f"nodes[{index}].{field}", f'"{value}"', allowed)
            seen.setdefault(value, index)


def _replicas_fit(nodes: Sequence[Node], livekit: LiveKit) -> Iterator[Mistake]:
    # SFUs use the node's network: a second one on the same node finds its ports taken and never starts.
    if livekit.replicas is not None and livekit.replicas > len(nodes):
        yield Mistake(
            "livekit.replicas", str(livekit.replicas), f"at most {len(nodes)}, one per node in `nodes`"
        )


def _ports_are_free(ports: Ports) -> Iterator[Mistake]:
    for key, given, allowed in broken_rules(ports.claims()):
        yield Mistake(key, given, allowed)


def _secrets_differ(secrets: Secrets) -> Iterator[Mistake]:
    # Who holds one of them would hold another's power too.
    seen: dict[str, str] = {}
    for name, value in secrets.given().items():
        text = value.get_secret_value()
        if text in seen:
            yield Mistake(
                f"secrets.{name}",
                f"the same {len(text)} characters as secrets.{seen[text]}",
                "a secret of its own",
            )
        seen.setdefault(text, name)


# The sections a rule reads, and the rule, called with them in this order.
_RULES: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Mistake]]], ...] = (
    (("nodes",), _nodes_differ),
    (("nodes", "livekit"), _replicas_fit),
    (("ports",), _ports_are_free),
    (("secrets",), _secrets_differ),
)


def broken(sections: Mapping[str, Any]) -> list[Mistake]:
    """All mistakes that the rules find in the valid `sections` (field name of PlatformConfig -> value)."""
    return [
        mistake
        for names, rule in _RULES
        if all(name in sections for name in names)
        for mistake in rule(*(sections[name] for name in names))
    ]
