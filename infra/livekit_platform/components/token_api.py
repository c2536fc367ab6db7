"""The token service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.components.secret_object import secret_object


@dataclass(frozen=True)
class TokenApiArgs:
    namespace: str
    values: Mapping[str, Any]
    # The secret part of the service's environment: variable -> value.
    environment: pulumi.Output[Mapping[str, str]]
    # Its key of the platform's own object store; None where the store is somebody else's.
    recordings: pulumi.Output[Mapping[str, str]] | None


class TokenApi(pulumi.ComponentResource):
    """The Secrets that the service's environment is made of, and charts/token-api."""

    def __init__(self, name: str, args: TokenApiArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:TokenApi", name, {}, opts)
        wanted = {
            names.TOKEN_API_SECRET: args.environment,
            names.TOKEN_API_RECORDINGS_SECRET: args.recordings,
        }
        secrets = [
            secret_object(secret, namespace=args.namespace, component=names.TOKEN_API, data=data, parent=self)
            for secret, data in wanted.items()
            if data is not None
        ]
        own_chart(
            names.TOKEN_API,
            namespace=args.namespace,
            values=args.values,
            parent=self,
            depends_on=secrets,
        )
        self.register_outputs({})
