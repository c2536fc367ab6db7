"""Where recordings are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.components.secret_object import secret_object
from livekit_platform.values import object_store


@dataclass(frozen=True)
class ObjectStoreArgs:
    namespace: str
    values: Mapping[str, Any]
    # By field name of `Secrets`; None where the store is somebody else's, with keys of its own.
    secrets: Mapping[str, pulumi.Output[str]] | None


class ObjectStore(pulumi.ComponentResource):
    """The Secrets with the store's accounts, and charts/object-store, whose Job tries them out."""

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:ObjectStore", name, {}, opts)
        own_chart(
            names.OBJECT_STORE,
            namespace=args.namespace,
            values=args.values,
            parent=self,
            depends_on=[] if args.secrets is None else self._secrets(args.namespace, args.secrets),
        )
        self.register_outputs({})

    def _secrets(self, namespace: str, secrets: Mapping[str, pulumi.Output[str]]) -> list[pulumi.Resource]:
        fields = {field: secrets[field] for field in object_store.ACCOUNTS.values()}
        accounts = pulumi.Output.all(**fields).apply(
            lambda values: {object_store.ACCOUNTS_FILE: object_store.accounts_file(values)}
        )
        return [
            secret_object(name, namespace=namespace, component=names.OBJECT_STORE, data=data, parent=self)
            for name, data in (
                (
                    names.OBJECT_STORE_ROOT_SECRET,
                    secrets[object_store.ROOT_SECRET_KEY].apply(object_store.root_key),
                ),
                (names.OBJECT_STORE_ACCOUNTS_SECRET, accounts),
            )
        ]
