"""Sentences about wrong input: the field, what was given, what is allowed, and what was perhaps meant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

# Keys by which people call the entries of a list; an entry that has none of them is called by its number.
_NAMES = ("name", "metric", "kind")
_SHOWN_CHARACTERS = 80
# Where pydantic speaks of Python's types, and the writer of YAML thinks of its own.
_IN_WORDS = {
    "tuple_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_pattern_mismatch": "small letters, digits and hyphens, beginning with a letter, and not too long",
    "finite_number": "a number that is not infinite",
}


@dataclass(frozen=True)
class Mistake:
    """One refused value.

    Attributes:
        field: its path, such as `groups.viewers.count`.
    """

    field: str
    given: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.field}: given {self.given}; allowed: {self.allowed}"


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """The end of a sentence that names the nearest of the known words; empty where none is near."""
    near = get_close_matches(given.lower(), list(known), n=1) if isinstance(given, str) else []
    return f"; did you mean `{near[0]}`?" if near else ""


def one_of(given: object, known: Iterable[str]) -> str:
    """What is allowed where one of a few words is, with the nearest one."""
    words = list(known)
    return f"one of {', '.join(words) or '(there is none)'}{did_you_mean(given, words)}"


def shown(value: object) -> str:
    """A value as its writer wrote it, cut short."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def mistakes_in(error: ValidationError, model: type[BaseModel], data: object) -> list[Mistake | str]:
    """Everything that pydantic refused of `data`, each as a sentence that a person can act on."""
    found: dict[str, Mistake | str] = {}
    for detail in error.errors():
        mistake = _mistake(detail, model, data)
        # A union refuses once for each of its types: one sentence for all of them.
        found.setdefault(mistake.field if isinstance(mistake, Mistake) else mistake, mistake)
    return list(found.values())


def _mistake(detail: ErrorDetails, model: type[BaseModel], data: object) -> Mistake | str:
    field, owner, annotation = _place(detail["loc"], model, data)
    if detail["type"] == "value_error":
        return f"{field}: {detail['msg'].removeprefix('Value error, ')}" if field else str(detail["msg"])
    if detail["type"] == "extra_forbidden":
        keys = one_of(detail["loc"][-1], owner.model_fields).removeprefix("one of ")
        return Mistake(field, shown(detail["input"]), f"one of the keys {keys}")
    if detail["type"] == "missing":
        return Mistake(field, "nothing", "a value: it has no default")
    words = _words_in(annotation)
    if words:
        allowed = one_of(detail["input"], words)
        if float in _members(annotation):
            allowed = f"a number, or {allowed}"
        return Mistake(field, shown(detail["input"]), allowed)
    return Mistake(field, shown(detail["input"]), _IN_WORDS.get(detail["type"]) or _allowed(detail["msg"]))


def _allowed(message: str) -> str:
    """Pydantic's sentence as the end of "allowed: ..."."""
    return message.removeprefix("Input should be ").removeprefix("a valid ").partition(", unable to")[0]


def _place(
    location: Sequence[int | str], model: type[BaseModel], data: object
) -> tuple[str, type[BaseModel], Any]:
    """The path as people write it, the model that holds its last key, and that key's annotation."""
    words: list[str] = []
    owner, annotation = model, None
    inner: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            data = data[part] if isinstance(data, Sequence) and part < len(data) else None
            words.append(_name_of(data) or str(part))
            continue
        if inner is not None and part in inner.model_fields:
            owner, annotation = inner, inner.model_fields[part].annotation
            inner = _model_in(annotation)
        elif isinstance(data, Mapping) and part in data:
            owner = inner or owner
        else:
            # The name of a union's member, which pydantic puts here and nobody has written.
            continue
        data = data.get(part) if isinstance(data, Mapping) else None
        words.append(part)
    return ".".join(words), owner, annotation


def _name_of(entry: object) -> str | None:
    if not isinstance(entry, Mapping):
        return None
    return next((str(entry[key]) for key in _NAMES if entry.get(key)), None)


def _members(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return [member for each in inner for member in _members(each)] if inner else [annotation]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next(
        (
            member
            for member in _members(annotation)
            if isinstance(member, type) and issubclass(member, BaseModel)
        ),
        None,
    )


def _words_in(annotation: Any) -> list[str]:
    """The words that a field of a few words allows, by Literal or by enumeration."""
    words: list[str] = []
    for member in _members(annotation):
        if isinstance(member, str):
            words.append(member)
        elif isinstance(member, type) and issubclass(member, Enum):
            words.extend(str(each.value) for each in member)
    return words
