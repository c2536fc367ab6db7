"""Protobuf messages as annotated classes, for packages that livekit-protocol for Python does not have.

    @message("internal")
    class ClaimResponse(Message):
        request_id: Annotated[str, 1] = ""
        server_id: Annotated[str, 2] = ""

The decorator replaces the class by the protobuf class. Annotations give each field's type and number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, dataclass_transform, get_args, get_origin, get_type_hints

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_FIELD = descriptor_pb2.FieldDescriptorProto
# Written after a field's number where the Python type does not say it.
FLOAT = _FIELD.TYPE_FLOAT
# An int64 reads int32 fields as well: both are written in the same way.
_TYPES = {
    str: _FIELD.TYPE_STRING,
    bytes: _FIELD.TYPE_BYTES,
    bool: _FIELD.TYPE_BOOL,
    int: _FIELD.TYPE_INT64,
    float: _FIELD.TYPE_DOUBLE,
}

M = TypeVar("M", bound=Message)


@dataclass_transform(kw_only_default=True)
def message(
    package: str, *, one_of: Mapping[str, Sequence[str]] | None = None
) -> Callable[[type[M]], type[M]]:
    """Make a protobuf class of a class with annotated fields. Fields that are left out stay unknown fields.

    Args:
        package: the protobuf package.
        one_of: the fields of each `oneof`, by its name.
    """

    def make(kind: type[M]) -> type[M]:
        name = kind.__name__
        file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=package, syntax="proto3")
        _describe(file.message_type.add(name=name), kind, one_of or {})
        # This pool is separate from the default one, where LiveKit's packages may add the same names one day.
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        descriptor = pool.FindMessageTypeByName(f"{package}.{name}")
        return cast(type[M], message_factory.GetMessageClass(descriptor))

    return make


def _describe(
    described: descriptor_pb2.DescriptorProto, kind: type[Message], one_of: Mapping[str, Sequence[str]]
) -> None:
    groups = {field: index for index, fields in enumerate(one_of.values()) for field in fields}
    for name in one_of:
        described.oneof_decl.add(name=name)
    for field, hint in get_type_hints(kind, include_extras=True).items():
        value, number, *wire_type = get_args(hint)
        repeated = get_origin(value) is not None
        scalar: Any = get_args(value)[0] if repeated else value
        added = described.field.add(
            name=field,
            number=number,
            type=wire_type[0] if wire_type else _TYPES[scalar],
            label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
        )
        if field in groups:
            added.oneof_index = groups[field]
