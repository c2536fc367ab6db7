"""A secret that is generated once, and again when its generation is raised.

A Pulumi dynamic resource of our own, because the plugin of pulumi-random cannot be had from package
registries. Its state holds the value, encrypted by the stack's secrets provider.
"""

from __future__ import annotations

import secrets
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

# 256 bits, as LiveKit's own `generate-keys`; 43 characters of base64url.
_RANDOM_BYTES = 32


class RandomSecretProvider(ResourceProvider):
    """Makes the value. Pickled by reference (module and name), so its serialized form is constant."""

    # It captures nothing, so there is nothing to hide in its serialized form.
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_=secrets.token_hex(8), outs=self._outputs(props))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # Said outright: without `changes` the engine would compare the serialized provider too.
        return DiffResult(changes=olds["generation"] != news["generation"], replaces=[], stables=[])

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs=self._outputs(news))

    @staticmethod
    def _outputs(props: dict[str, Any]) -> dict[str, Any]:
        return {"generation": props["generation"], "value": secrets.token_urlsafe(_RANDOM_BYTES)}


class RandomSecret(Resource, module="livekit-platform", name="RandomSecret"):
    """43 random characters out of A-Z, a-z, 0-9, - and _ (256 bits), marked secret."""

    value: pulumi.Output[str]

    def __init__(self, name: str, *, generation: int, opts: pulumi.ResourceOptions) -> None:
        """
        Args:
            generation: a higher (in fact, any other) number makes a new value.
        """
        super().__init__(
            RandomSecretProvider(),
            name,
            {"generation": generation, "value": None},
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["value"])),
        )
