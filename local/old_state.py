"""Converts stacks that an earlier version of this project made with its own Kubernetes provider.

That provider kept fewer values in the state than the official one. The missing values can be computed from
the state. So such a stack is converted once, before the first `pulumi up` with the official provider.
"""

from __future__ import annotations

import copy
import re
from typing import Any

# The old provider marked its resources with this output.
_MARK_KEY, _MARK = "__provider", "livekit-platform/local"
# The old provider applied objects under this name.
_FIELD_MANAGER = "livekit-platform"
_KUBERNETES = "kubernetes:"


def mentions_old_provider(state: bytes) -> bool:
    """Whether a state file may contain such resources. This quick check avoids an export."""
    return re.search(rf'"{_MARK_KEY}":\s*"{_MARK}"'.encode(), state) is not None


def converted(exported: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The deployment with the outputs that the official provider keeps, and the number of changed resources.

    The official provider needs the inputs of the last run, the API version and the name of the field manager.
    The old field manager's name is kept: with a new name the API server would keep fields that the program
    no longer sets.

    Args:
        exported: `pulumi stack export`, parsed. It is not changed.
    """
    result = copy.deepcopy(exported)
    resources = (result.get("deployment") or {}).get("resources") or []
    count = 0
    for resource in resources:
        outputs = resource.get("outputs") or {}
        if not str(resource.get("type", "")).startswith(_KUBERNETES) or outputs.get(_MARK_KEY) != _MARK:
            continue
        del outputs[_MARK_KEY]
        inputs = resource.get("inputs") or {}
        outputs["__inputs"] = copy.deepcopy(inputs)
        outputs["__initialApiVersion"] = inputs.get("apiVersion") or outputs.get("apiVersion")
        outputs["__fieldManager"] = _FIELD_MANAGER
        count += 1
    return result, count
