"""The workers that record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import yaml

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.components.secret_object import secret_object
from livekit_platform.values.egress import CONFIG_FILE, with_secrets


@dataclass(frozen=True)
class EgressArgs:
    namespace: str
    values: Mapping[str, Any]
    # The workers' configuration without its secrets.
    config_file: Mapping[str, Any]
    # Those secrets, by field name of `Secrets`.
    secrets: Mapping[str, pulumi.Output[str]]


class Egress(pulumi.ComponentResource):
    """The workers' configuration in a Secret, and charts/egress."""

    def __init__(self, name: str, args: EgressArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Egress", name, {}, opts)

        def file(secrets: Mapping[str, str]) -> dict[str, str]:
            return {CONFIG_FILE: yaml.safe_dump(with_secrets(args.config_file, secrets), sort_keys=True)}

        config = secret_object(
            names.EGRESS_CONFIG_SECRET,
            namespace=args.namespace,
            component=names.EGRESS,
            data=pulumi.Output.all(**args.secrets).apply(file),
            parent=self,
        )
        own_chart(
            names.EGRESS, namespace=args.namespace, values=args.values, parent=self, depends_on=[config]
        )
        self.register_outputs({})
