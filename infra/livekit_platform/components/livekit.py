"""The SFUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import yaml

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.components.secret_object import secret_object
from livekit_platform.values.livekit import CONFIG_FILE, with_secrets


@dataclass(frozen=True)
class LiveKitArgs:
    namespace: str
    values: Mapping[str, Any]
    # The server's configuration without its secrets.
    server_config: Mapping[str, Any]
    api_key: str
    api_secret: pulumi.Output[str]
    redis_password: pulumi.Output[str]
    turn_secret: pulumi.Output[str]
    # What else is taken of the server API's keys, with their secrets.
    previous_keys: Mapping[str, pulumi.Output[str]]


class LiveKit(pulumi.ComponentResource):
    """The server's configuration in a Secret, and charts/livekit-server."""

    def __init__(self, name: str, args: LiveKitArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:LiveKit", name, {}, opts)

        def config_file(secrets: Mapping[str, Any]) -> dict[str, str]:
            complete = with_secrets(args.server_config, api_key=args.api_key, **secrets)
            return {CONFIG_FILE: yaml.safe_dump(complete, sort_keys=True)}

        config = secret_object(
            names.LIVEKIT_CONFIG_SECRET,
            namespace=args.namespace,
            component=names.LIVEKIT,
            data=pulumi.Output.all(
                api_secret=args.api_secret,
                redis_password=args.redis_password,
                turn_secret=args.turn_secret,
                previous_keys=args.previous_keys,
            ).apply(config_file),
            parent=self,
        )
        own_chart(
            names.LIVEKIT, namespace=args.namespace, values=args.values, parent=self, depends_on=[config]
        )
        self.register_outputs({})
