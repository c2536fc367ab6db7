"""A typed Secret, as every component makes it."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pulumi
from pulumi_kubernetes import core, meta

from livekit_platform import names


def _encoded(texts: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}


def secret_object(
    name: str,
    *,
    namespace: str,
    component: str,
    data: pulumi.Output[Mapping[str, str]],
    parent: pulumi.Resource,
    kind: str = "Opaque",
) -> core.v1.Secret:
    """A Secret with text `data`, whose name is fixed so that charts can be given it at preview.

    `data` comes from outputs that are marked secret, and so stays encrypted in the state.
    """
    return core.v1.Secret(
        name,
        metadata=meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=names.labels(component)),
        type=kind,
        # Not string_data: the API server gives only `data` back, and a refresh would see a difference.
        data=data.apply(_encoded),
        opts=pulumi.ResourceOptions(parent=parent),
    )
