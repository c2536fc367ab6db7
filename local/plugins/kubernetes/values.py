"""Between the engine's property values and plain JSON objects, with secrets kept secret.

The engine wraps a secret in a marker and sends an unknown (an output that a preview cannot know) as a
sentinel string. A Kubernetes object has neither, so what is sent to the API server is `plain`, and what
comes back is marked `like` the inputs that it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from google.protobuf.struct_pb2 import Struct
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

Json: TypeAlias = dict[str, Any]
Properties: TypeAlias = Mapping[str, PropertyValue]

# In typed SDKs the fields of a CustomResourceDefinition's schema are spelt with underscores.
_SDK_EXTENSION, _API_EXTENSION = "x_kubernetes_", "x-kubernetes-"


def parse(struct: Struct) -> Properties:
    """The properties in an engine message."""
    return PropertyValue.unmarshal_map(struct)


def serialize(properties: Properties) -> Struct:
    """The reverse of `parse`."""
    return PropertyValue.marshal_map(dict(properties))


def plain(properties: Properties) -> Json:
    """The object without marks of secrecy. Unknowns stay as the sentinel: see `has_unknown`."""
    return {_to_api(key): _plain(value) for key, value in properties.items() if not key.startswith("__")}


def has_unknown(value: Any) -> bool:
    """Whether a plain value holds something that only a real run will know."""
    return any(leaf == UNKNOWN for leaf in _leaves(value))


def marked(value: Any, like: PropertyValue | None = None) -> PropertyValue:
    """`value` as a property, secret where `like` is.

    Objects are marked field by field. A list with a secret anywhere in the old one is secret as a whole,
    because the API server may have reordered it.
    """
    if like is not None and like.is_secret:
        return _property(value).with_secret(True)
    if isinstance(value, Mapping):
        old = like.value if like is not None and isinstance(like.value, Mapping) else {}
        return PropertyValue(
            {_to_sdk(key): marked(item, old.get(_to_sdk(key))) for key, item in value.items()}
        )
    return _property(value).with_secret(like is not None and like.contains_secret())


def marked_object(obj: Json, like: Properties) -> dict[str, PropertyValue]:
    """`marked` for a whole object; what a v1 Secret carries is secret whatever the inputs were."""
    properties = {_to_sdk(key): marked(item, like.get(_to_sdk(key))) for key, item in obj.items()}
    if obj.get("kind") == "Secret":
        for key in ("data", "stringData"):
            if key in properties:
                properties[key] = properties[key].with_secret(True)
    return properties


def secret_texts(properties: Properties) -> set[str]:
    """Every text inside a secret, to be kept out of messages."""
    found: set[str] = set()
    for value in properties.values():
        found |= _secret_texts(value, within=False)
    return found


def redacted(message: str, secrets: set[str]) -> str:
    """`message` with each of `secrets` replaced. The API server quotes a field's value when it refuses it."""
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, "[secret]")
    return message


def _secret_texts(value: PropertyValue, within: bool) -> set[str]:
    within = within or value.is_secret
    if isinstance(value.value, str):
        # Replacing a word as short as "on" would make a message unreadable, and hides nothing.
        return {value.value} if within and len(value.value) > 3 else set()
    if isinstance(value.value, Mapping):
        return set().union(*(_secret_texts(item, within) for item in value.value.values()))
    if isinstance(value.value, tuple):
        return set().union(*(_secret_texts(item, within) for item in value.value))
    return set()


def _plain(value: PropertyValue) -> Any:
    inner = value.value
    if isinstance(inner, Mapping):
        return {_to_api(key): _plain(item) for key, item in inner.items()}
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)  # protobuf knows one kind of number, the API server refuses 80.0 for a port
    if inner is None or isinstance(inner, str | bool | float):
        return inner
    if isinstance(inner, tuple):
        return [_plain(item) for item in inner]
    raise TypeError(f"a Kubernetes object cannot hold a Pulumi {type(inner).__name__}")


def _property(value: Any) -> PropertyValue:
    if isinstance(value, Mapping):
        return PropertyValue({_to_sdk(key): _property(item) for key, item in value.items()})
    if isinstance(value, list):
        return PropertyValue([_property(item) for item in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _to_api(key: str) -> str:
    return _API_EXTENSION + key.removeprefix(_SDK_EXTENSION).replace("_", "-") if _is_sdk(key) else key


def _to_sdk(key: str) -> str:
    if not key.startswith(_API_EXTENSION):
        return key
    return _SDK_EXTENSION + key.removeprefix(_API_EXTENSION).replace("-", "_")


def _is_sdk(key: str) -> bool:
    return key.startswith(_SDK_EXTENSION)
