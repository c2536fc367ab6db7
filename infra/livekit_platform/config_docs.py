"""docs/configuration.md out of the configuration's own classes: `python -m livekit_platform.config_docs`.

What stands in the page is what the program reads: keys, types, defaults, ranges and sentences come from the
fields, and a test refuses a page that differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from livekit_platform.config import PlatformConfig
from livekit_platform.egress_capacity import LIVEKIT_CPU_COSTS, RECORDER_SPOOL_BYTES
from livekit_platform.names import PROJECT
from livekit_platform.ports import EPHEMERAL, NODE_PORTS
from livekit_platform.turn_allocations import ALLOCATION_BYTES, ALLOCATIONS_OF_A_JOIN
from livekit_platform.turn_rules import RESERVED_ON_NODES

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
_HEADINGS = ("Key", "Type and range", "Default", "Example", "Allowed")
_WORDS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    IPv4Address: "IPv4 address",
    IPv4Network: "IPv4 network",
    SecretStr: "secret text",
}
_REQUIRED = "**required**"

_INTRODUCTION = f"""\
# Configuration

Every key of a stack, generated from `infra/livekit_platform/config/` by `make docs`. Each stands under
`{PROJECT}:` in `Pulumi.<stack>.yaml`, or is set by a command:

```sh
pulumi config set {PROJECT}:domain live.example.com                             # a key by itself
pulumi config set --path '{PROJECT}:turn.kind' coturn                           # a key of a part
pulumi config set --path '{PROJECT}:nodes[0].name' node-a                       # an entry of a list
pulumi config set --path '{PROJECT}:images.pull_secrets[0]' registry-login
pulumi config set --secret --path '{PROJECT}:secrets.turn_secret'               # asks for the value
```

- "{_REQUIRED}" has no default. "in its part" means: required where the part that it stands in is given.
- "nothing" as a default means that the key may be left out; what happens then stands under "Allowed".
- `pulumi preview` refuses what is not allowed, names every mistake with what was given, and touches nothing.
  It also compares `nodes` with the cluster's own: see [below](#what-the-keys-must-keep-together).
- `make up` sets `kubeconfig`, `context`, `nodes` and our own images for the cluster that it makes, and
  creates the secrets and certificates of stack `local`. For another stack `make secrets STACK=<stack>`
  creates those that it needs and that are missing, encrypted, in `Pulumi.<stack>.yaml`, which you commit.
"""

_RULES = f"""\
## What the keys must keep together

- `nodes`: names and addresses differ. Each is a node of the cluster without a taint that keeps pods away; one
  that is cordoned or not Ready is a warning. `internal_address`, or `address` where it is left out, is one of
  the node's InternalIPs. An address that belongs to another node is refused; a public one that the cluster
  does not know is a warning.
- `network`: its networks are not wider than /8, for policies let them through.
- `livekit.replicas`, `turn.replicas` and `edge.replicas`: at most one per node: they use the node's ports.
- `ports`: those that are taken from nodes differ (by protocol), lie outside the NodePorts ({NODE_PORTS})
  and the ephemeral ports ({EPHEMERAL}), and are none of Kubernetes' own. With `turn.kind` `embedded`
  `ports.turn_relay` lies within {RESERVED_ON_NODES}; nodes keep these ports free by
  `net.ipv4.ip_local_reserved_ports={RESERVED_ON_NODES}`.
- `ports.turn_relay` has {ALLOCATIONS_OF_A_JOIN} ports for each of `turn.expected_participants`: a client
  allocates at every server, so more servers do not help. With coturn it also has four times as many ports as
  one client address can hold: `turn.allocations_per_address` times five, and once more for each edge, whose
  connections go to all servers in equal parts.
- `turn.resources.memory_limit` is enough for all relays: {ALLOCATION_BYTES // 1024} KiB for each with coturn.
- A key that belongs to one kind (`edge.tls.issuer`, `redis.external`, `database.secret_name` and their like)
  is refused with any other; what a kind cannot do without is required with it.
- `redis.storage_size` is at least twice `redis.maxmemory_mib`; a memory request is not above its limit.
- `egress.kind` `recorder` needs `images.recorder`.
- `egress.resources.cpu_request`, or `egress.cpu_cost.cores` where it is set, is at least the largest of
  `egress.cpu_cost`, by default {LIVEKIT_CPU_COSTS["web"]:g} with kind `livekit`: a smaller worker runs, and
  refuses what takes more. With kind `recorder`, `egress.cpu_cost.max_utilization` of it is at least so much.
- `egress.temporary_storage` is enough for all recordings that a worker of kind `livekit` accepts at once, of
  `egress.expected_kbps` for `egress.session_limits.file_output_max_seconds` each, and a ninth more.
- `egress.spool.size` has {RECORDER_SPOOL_BYTES // 2**20} MiB for each of the recordings that a worker of kind
  `recorder` accepts at once, and a ninth more.
- `egress.autoscaling.headroom` is at least a tenth of `max_replicas`: Kubernetes ignores smaller differences.
- `egress.backup` has a key of its own (`access_key` with `secrets.egress_backup_secret_key`), or
  `object_store.kind` is `external`, whose key or identity it then shares.
- Secrets differ from each other, and are encrypted by Pulumi: in plain text they are refused. Each stack
  needs `livekit_api_secret`, `turn_secret` and `api_service_key`; `redis.kind` `single` needs
  `redis_password`, `sentinel` also `redis_replication_password`, `external` the password of that Redis;
  `object_store.kind` `embedded` needs all that begin with `s3_`; `token_api.host_auth.kind` `secret` needs
  `host_jwt_secret`; `egress.backup.access_key` needs the secret of that key. `pulumi preview` names each that
  is missing, and the command that creates it.
- `certificates`: with `edge.tls.kind` `own_ca` all four are needed. The server's certificate is signed by the
  authority, and both are for `domain`. 30 days before one expires, `pulumi preview` warns.
- `environment: production` also wants: at least two nodes, and two of each part; a domain that clients can
  find; a certificate that browsers trust (`edge.tls.kind` other than `own_ca`), and nothing without TLS
  (`edge.plain_localhost`, `redis.external.tls`, `object_store.external.endpoint`, `egress.backup.endpoint`);
  no more `egress.cpu_cost.cores` than `egress.resources.cpu_request`;
  `redis.kind` `sentinel` or `external`; `object_store.kind` and `database.kind` `external`.
"""


@dataclass(frozen=True)
class Key:
    """One key as the page shows it; `examples` are values, all else is text.

    Attributes:
        path: without the project's prefix, list entries as `[]`.
        annotation: the field's type with its constraints, for whoever checks the example.
    """

    path: str
    type: str
    default: str
    example: str
    allowed: str
    annotation: Any
    example_value: Any
    secret: bool


def all_keys() -> list[Key]:
    """Every key that holds a value, in the order of the classes."""
    return [key for name, field in PlatformConfig.model_fields.items() for key in _keys(name, field)]


def _keys(path: str, field: FieldInfo, default: Any = ..., *, optional: bool = False) -> Iterator[Key]:
    """The key `path` itself, or, of a section, all keys in it.

    Args:
        default: of this very place; sections of one class have different defaults in different parts.
        optional: whether it stands in a section that may be left out.
    """
    if default is ...:
        default = ... if field.is_required() else field.get_default(call_default_factory=True)
    section = section_in(field.annotation)
    if section is None:
        yield _leaf(path, field, default, optional=optional)
        return
    is_list = any(get_origin(inner) is tuple for inner in _alternatives(field.annotation))
    for name, inner in section.model_fields.items():
        given = getattr(default, name) if isinstance(default, section) else ...
        left_out = optional or default is None
        yield from _keys(f"{path}{'[]' if is_list else ''}.{name}", inner, given, optional=left_out)


def _leaf(path: str, field: FieldInfo, default: Any, *, optional: bool) -> Key:
    secret = SecretStr in _alternatives(field.annotation)
    annotated: Any = Annotated[field.annotation, field]
    example = field.examples[0] if field.examples else default
    required = f"{_REQUIRED} in its part" if optional else _REQUIRED
    if secret:
        shown = "nothing"
        example_shown = f"`pulumi config set --secret --path {PROJECT}:{path}`"
    else:
        shown = required if default is ... else _value(default)
        example_shown = _value(example)
    return Key(
        path=path,
        type=_type(field),
        default=shown,
        example=example_shown,
        allowed=field.description or "",
        annotation=annotated,
        example_value=example,
        secret=secret,
    )


def section_in(annotation: Any) -> type[BaseModel] | None:
    """The section class in `annotation`, inside tuples, unions and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := section_in(inner))), None)


def _alternatives(annotation: Any) -> list[Any]:
    """The types of a union without None, each without its constraints."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        inner = [alternative for part in get_args(annotation) for alternative in _alternatives(part)]
        return [alternative for alternative in inner if alternative is not type(None)]
    return [annotation]


def _type(field: FieldInfo) -> str:
    ranges = [*_ranges(field.metadata), *_inner_ranges(field.annotation)]
    return ", ".join([" or ".join(map(_spoken, _alternatives(field.annotation))), *ranges])


def _inner_ranges(annotation: Any) -> Iterator[str]:
    """Constraints that stand with a type's name, as those of a port do; not those of a list's entries."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        for entry in metadata:
            yield from _ranges(entry.metadata if isinstance(entry, FieldInfo) else [entry])
        yield from _inner_ranges(inner)
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _inner_ranges(part)


def _ranges(metadata: list[Any]) -> Iterator[str]:
    """Numbers and lengths; what a pattern allows is said in words by the field's sentence."""

    def bound(name: str) -> Any:
        return next((getattr(entry, name) for entry in metadata if hasattr(entry, name)), None)

    least, most, above = bound("ge"), bound("le"), bound("gt")
    if above is not None:
        yield f"above {above}" if most is None else f"above {above} to {most}"
    if least is not None:
        yield f"from {least}" if most is None else f"{least} to {most}"
    shortest, longest = bound("min_length"), bound("max_length")
    if shortest is not None:
        yield "not empty" if shortest == 1 else f"at least {shortest} long"
    if longest is not None:
        yield f"up to {longest} characters"


def _spoken(alternative: Any) -> str:
    origin = get_origin(alternative)
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in get_args(alternative))
    if origin is tuple:
        inner = " or ".join(map(_spoken, _alternatives(get_args(alternative)[0])))
        return f"list of {inner}s"
    return "object of texts" if origin is dict else _WORDS[alternative]


def _value(value: Any) -> str:
    """As one writes it in the stack's file."""
    if value is None:
        return "nothing"
    if value in ("", (), {}):
        return "empty"
    if isinstance(value, str | Path | IPv4Address):
        return f"`{value}`"
    return f"`{json.dumps(value, default=str)}`"


def page() -> str:
    """The whole of docs/configuration.md."""
    plain = [key for key in all_keys() if "." not in key.path]
    parts = [
        _INTRODUCTION,
        f"## The stack itself\n\n{PlatformConfig.__doc__}\n\n{_table(plain)}",
    ]
    for name, field in PlatformConfig.model_fields.items():
        section = section_in(field.annotation)
        if section is not None:
            inside = [key for key in all_keys() if key.path.startswith((f"{name}.", f"{name}["))]
            # What the field itself says is of use where it is a list; else it says "an object".
            shape = f" Here: {field.description}." if inside[0].path.startswith(f"{name}[") else ""
            parts.append(f"## `{name}`\n\n{_about(section)}{shape}\n\n{_table(inside)}")
    return "\n".join([*parts, _RULES])


def _about(section: type[BaseModel]) -> str:
    """A part's own sentence, and those of the parts in it."""
    sentences = [section.__doc__ or ""]
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        if inner is not None:
            sentences.append(f"`{name}`: {inner.__doc__}")
            sentences += [f"`{name}.{line[1:]}" for line in _about(inner).split("\n\n")[1:]]
    return "\n\n".join(sentences)


def _table(rows: list[Key]) -> str:
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|{'---|' * len(_HEADINGS)}"]
    for key in rows:
        cells = [f"`{key.path}`", key.type, key.default, key.example, key.allowed]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
