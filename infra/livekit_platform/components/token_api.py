"""The token service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.components.secret_object import secret_object
from livekit_platform.values.token_api import secret_environment


@dataclass(frozen=True)
class TokenApiArgs:
    namespace: str
    values: Mapping[str, Any]
    api_key: str
    livekit_api_secret: pulumi.Output[str]
    api_service_key: pulumi.Output[str]


class TokenApi(pulumi.ComponentResource):
    """The secret part of the service's environment, and charts/token-api."""

    def __init__(self, name: str, args: TokenApiArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:TokenApi", name, {}, opts)
        secrets = pulumi.Output.all(
            livekit_api_secret=args.livekit_api_secret, api_service_key=args.api_service_key
        )
        environment = secret_object(
            names.TOKEN_API_SECRET,
            namespace=args.namespace,
            component=names.TOKEN_API,
            data=secrets.apply(lambda values: secret_environment(api_key=args.api_key, **values)),
            parent=self,
        )
        own_chart(
            names.TOKEN_API,
            namespace=args.namespace,
            values=args.values,
            parent=self,
            depends_on=[environment],
        )
        self.register_outputs({})
