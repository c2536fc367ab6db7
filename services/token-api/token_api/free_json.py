"""JSON objects that the host application chooses: what of them is accepted, and how they are stored.

A stored value is part of many later answers, so it must always be possible to render it. Pydantic and many
clients refuse deep nesting, JSON has no NaN, and UTF-8 has no lone surrogates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from pydantic import AfterValidator

MAX_BYTES = 2048
MAX_DEPTH = 16

log = structlog.get_logger()


def depth(value: object) -> int:
    """How many levels of objects and arrays `value` has: 1 for `{}`, 0 for a number."""
    levels, current = 0, [value]
    while current := [one for one in current if isinstance(one, dict | list)]:
        levels += 1
        current = [child for one in current for child in (one.values() if isinstance(one, dict) else one)]
    return levels


def to_stored(value: Mapping[str, Any]) -> str:
    """`value` as compact ASCII JSON, as it is stored.

    Raises:
        ValueError: it is too deep or too long, or contains NaN, infinity or a lone surrogate.
    """
    if (given := depth(value)) > MAX_DEPTH:
        raise ValueError(f"it has {given} levels of objects and arrays; at most {MAX_DEPTH} are allowed")
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        # ASCII escapes lone surrogates. Encoding the characters themselves finds them.
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        raise ValueError("NaN, infinity and lone surrogates are not allowed") from error
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text)} bytes of JSON; at most {MAX_BYTES} are allowed")
    return text


def from_stored(text: str) -> dict[str, Any]:
    """The stored value; an empty object instead of one that cannot be rendered.

    Earlier releases stored such values. One of them must not make the list that contains it fail.
    """
    value: dict[str, Any] = json.loads(text)
    if (levels := depth(value)) > MAX_DEPTH:
        log.warning("stored_json_too_deep", levels=levels)
        return {}
    return value


def _checked(value: dict[str, Any]) -> dict[str, Any]:
    to_stored(value)
    return value


FreeJson = Annotated[dict[str, Any], AfterValidator(_checked)]
