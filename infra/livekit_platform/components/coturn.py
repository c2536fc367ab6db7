"""The TURN servers, for clients that reach no SFU port directly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.components.secret_object import secret_object
from livekit_platform.values.coturn import CONFIG_FILE


@dataclass(frozen=True)
class CoturnArgs:
    namespace: str
    values: Mapping[str, Any]
    # turnserver.conf, with the secret that clients' credentials are made with.
    conf: pulumi.Output[str]


class Coturn(pulumi.ComponentResource):
    """The server's configuration in a Secret, and charts/coturn."""

    def __init__(self, name: str, args: CoturnArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Coturn", name, {}, opts)
        config = secret_object(
            names.COTURN_CONFIG_SECRET,
            namespace=args.namespace,
            component=names.COTURN,
            data=args.conf.apply(lambda conf: {CONFIG_FILE: conf}),
            parent=self,
        )
        own_chart(
            names.COTURN, namespace=args.namespace, values=args.values, parent=self, depends_on=[config]
        )
        self.register_outputs({})
