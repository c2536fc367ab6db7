"""One of our own charts, as every component deploys it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.helm.v4 import Chart

# The program runs in infra/ (`main` in Pulumi.yaml).
_CHARTS = "../charts"


def own_chart(
    name: str,
    *,
    namespace: str,
    values: Mapping[str, Any],
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource],
) -> Chart:
    """charts/`name` as release `name`.

    `values` must be known at preview: a Chart with unknown ones shows no children.
    """
    return Chart(
        name,
        chart=f"{_CHARTS}/{name}",
        name=name,
        namespace=namespace,
        values=values,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(depends_on)),
    )
