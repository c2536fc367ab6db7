"""Whose state: a stack belongs to the provider that made it.

The official Kubernetes provider and ours keep different things in a resource's state, so one that met the
other's would take every object for changed. Ours marks what it makes and refuses what it did not; for the
official one, which knows nothing of us, `require` is asked before it is let at a stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from local.plugins.errors import PluginError

# An output of each resource that our provider made. The engine keeps such keys, SDKs do not show them.
MARK_KEY = "__provider"
MARK = "livekit-platform/local"
_KUBERNETES = "kubernetes:"
_SHOWN = 3


class Provider(Enum):
    """The two Kubernetes providers, with the words for them."""

    OFFICIAL = "the official Kubernetes provider"
    EMBEDDED = "the Kubernetes provider in this project's local/plugins"

    @property
    def other(self) -> Provider:
        return Provider.EMBEDDED if self is Provider.OFFICIAL else Provider.OFFICIAL


class ForeignState(PluginError):
    """Resources of a stack were made by the other provider. The message says which, and what to do."""

    def __init__(self, using: Provider, found: list[str]) -> None:
        self.found = found
        shown = ", ".join(found[:_SHOWN]) + (
            f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        )
        super().__init__(
            f"This run uses {using.value}, but the stack holds resources that {using.other.value} made: "
            f"{shown}. "
            "Nothing was changed. Either run with the provider that made them, or end the stack with that "
            "provider (`pulumi destroy`) and bring it up again, or take a stack of another name."
        )


def made_by(outputs: Mapping[str, Any]) -> Provider:
    """Which provider made a resource, from its outputs as the state holds them."""
    return Provider.EMBEDDED if outputs.get(MARK_KEY) == MARK else Provider.OFFICIAL


def require(deployment: Mapping[str, Any], using: Provider) -> None:
    """Refuse a stack of which some resource was made by the other provider.

    Args:
        deployment: `pulumi stack export`, parsed.

    Raises:
        ForeignState: with the URNs.
    """
    resources = (deployment.get("deployment") or {}).get("resources") or []
    foreign = [
        str(resource["urn"])
        for resource in resources
        if resource.get("custom")
        and str(resource.get("type", "")).startswith(_KUBERNETES)
        and made_by(resource.get("outputs") or {}) is not using
    ]
    if foreign:
        raise ForeignState(using, foreign)
