"""Redis, through which the SFUs share rooms and messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.components.secret_object import secret_object


@dataclass(frozen=True)
class RedisArgs:
    namespace: str
    values: Mapping[str, Any]
    # The texts of the Secret's files, by their names.
    files: pulumi.Output[Mapping[str, str]]


class Redis(pulumi.ComponentResource):
    """The Secret with the users, and charts/redis."""

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Redis", name, {}, opts)
        acl = secret_object(
            names.REDIS_ACL_SECRET,
            namespace=args.namespace,
            component=names.REDIS,
            data=args.files,
            parent=self,
        )
        own_chart(names.REDIS, namespace=args.namespace, values=args.values, parent=self, depends_on=[acl])
        self.register_outputs({})
