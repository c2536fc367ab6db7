"""From Pulumi's flat, textual configuration to a `PlatformConfig`, or to all mistakes at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

import pulumi
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from livekit_platform.config import Certificates, PlatformConfig, Secrets
from livekit_platform.config_rules import broken
from livekit_platform.mistakes import Mistake
from livekit_platform.names import PROJECT
from livekit_platform.required_secrets import rotate_command

# Keys whose value is text as it stands; every other key holds JSON.
_TEXT_KEYS = ("kubeconfig", "context", "environment", "namespace", "domain")
# Sections with secrets: messages show none of their values, even if Pulumi does not encrypt them.
SECRET_SECTIONS = ("secrets", "certificates")


def load() -> PlatformConfig:
    """The running stack's configuration.

    Raises:
        pulumi.RunError: with every mistake in one message; no resource exists yet.
    """
    # The SDK's public Config asks for keys by name; to refuse unknown ones they must be listed, and these are
    # the two places it reads (the engine's environment, and what the Automation API or a test has set).
    runtime = pulumi.runtime.config
    everything = {**runtime.get_config_env(), **runtime.CONFIG.get()}
    secret_keys = {*runtime.get_config_secret_keys_env(), *runtime._SECRET_KEYS.get()}
    prefix = f"{PROJECT}:"
    stack = pulumi.get_stack()
    config, mistakes = parse(
        {key.removeprefix(prefix): value for key, value in everything.items() if key.startswith(prefix)},
        {key.removeprefix(prefix) for key in secret_keys if key.startswith(prefix)},
        stack=stack,
    )
    if config is None:
        raise pulumi.RunError(describe(mistakes, stack))
    return config


def describe(mistakes: list[Mistake], stack: str) -> str:
    """All mistakes, one per line."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    lines = [
        f"  {PROJECT}:{mistake.key}: given {mistake.given}; allowed: {mistake.allowed}"
        for mistake in mistakes
    ]
    return "\n".join([f"the configuration of stack {stack!r} has {count}:", *lines])


def parse(
    raw: Mapping[str, str], secret_keys: AbstractSet[str] = frozenset(), *, stack: str
) -> tuple[PlatformConfig, list[Mistake]] | tuple[None, list[Mistake]]:
    """The configuration, or None and everything that is wrong with it.

    Args:
        raw: key without the project's prefix -> text, as Pulumi holds it.
        secret_keys: the keys of `raw` that Pulumi keeps encrypted.
        stack: the stack's name, for the commands that a mistake names.
    """
    sections, mistakes = parse_sections(raw, secret_keys, stack=stack)
    for model in SECRET_SECTIONS:
        section = sections.get(model)
        if model not in secret_keys and isinstance(section, Secrets | Certificates):
            mistakes.extend(_in_plain_text(model, section))
    mistakes.extend(_covered(mistake, secret_keys) for mistake in broken(sections, stack))
    if mistakes:
        return None, mistakes
    return PlatformConfig.model_construct(**sections), []


def parse_sections(
    raw: Mapping[str, str], secret_keys: AbstractSet[str] = frozenset(), *, stack: str
) -> tuple[dict[str, Any], list[Mistake]]:
    """The sections that are valid by themselves, and what is wrong with the others."""
    mistakes: list[Mistake] = []
    sections: dict[str, Any] = {}
    for key in sorted(set(raw) - set(PlatformConfig.model_fields)):
        mistakes.append(_unknown(key, _shown(raw[key], secret=key in secret_keys), key, PlatformConfig))
    for name, field in PlatformConfig.model_fields.items():
        if name not in raw:
            if field.is_required():
                mistakes.append(Mistake(name, "nothing", field.description or ""))
            else:
                sections[name] = field.get_default(call_default_factory=True)
            continue
        secret = name in secret_keys or name in SECRET_SECTIONS
        try:
            value = raw[name] if name in _TEXT_KEYS else json.loads(raw[name])
            annotated: Any = Annotated[field.annotation, field]
            sections[name] = TypeAdapter(annotated).validate_python(value)
        except json.JSONDecodeError:
            mistakes.append(Mistake(name, _shown(raw[name], secret=secret), field.description or ""))
        except ValidationError as error:
            details = error.errors()
            mistakes.extend(
                _refused(name, detail, stack, secret=secret)
                for detail in details
                # A list that lost its wrong items is also too short: that says nothing more.
                if not any(_inside(other, detail) for other in details)
            )
    return sections, mistakes


def _covered(mistake: Mistake, secret_keys: AbstractSet[str]) -> Mistake:
    """Hide an encrypted value: rules do not know which are encrypted. Rules on secrets never show values."""
    section = mistake.key.partition(".")[0].partition("[")[0]
    if section not in secret_keys or section in SECRET_SECTIONS:
        return mistake
    return Mistake(mistake.key, _shown(mistake.given, secret=True), mistake.allowed)


def _in_plain_text(section: str, values: Secrets | Certificates) -> Iterator[Mistake]:
    present = values.present() if isinstance(values, Secrets) else values.private_keys()
    for name, value in present.items():
        yield Mistake(
            f"{section}.{name}",
            f"{len(value.get_secret_value())} characters in plain text",
            f"a value that Pulumi encrypts: `pulumi config set --secret --path {PROJECT}:{section}.{name}`",
        )


def _inside(inner: ErrorDetails, outer: ErrorDetails) -> bool:
    return len(inner["loc"]) > len(outer["loc"]) and inner["loc"][: len(outer["loc"])] == outer["loc"]


def _removed(key: str, stack: str) -> str | None:
    """Says what replaces a key that no longer exists. Ignoring the key would leave a leaked secret in use."""
    if key != "secrets.generation":
        return None
    return (
        f"nothing: this key no longer exists. `{rotate_command(stack, 'NAME')}` replaces one secret; "
        f"`pulumi config rm --path {PROJECT}:{key}` removes the key"
    )


def _refused(section: str, detail: ErrorDetails, stack: str, *, secret: bool) -> Mistake:
    """Pydantic's error as a mistake: the key as one writes it, and the sentence of the field that refused."""
    location = [section, *detail["loc"]]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    model, field = _place(location)
    if detail["type"] == "extra_forbidden" and model is not None:
        removed = _removed(key, stack)
        if removed is not None:
            return Mistake(key, "a value", removed)
        return _unknown(key, _shown(detail["input"], secret=secret), str(location[-1]), model)
    missing = detail["type"] == "missing"
    given = "nothing" if missing else _shown(detail["input"], secret=secret)
    allowed = (field.description if field else None) or detail["msg"]
    # No hint about a secret: it would tell what it is like.
    words = _words_in(field.annotation) if field and not missing and not secret else ()
    return Mistake(key, given, f"{allowed}{_did_you_mean(detail['input'], words)}")


def _unknown(key: str, given: str, name: str, model: type[BaseModel]) -> Mistake:
    allowed = f"one of the keys {', '.join(model.model_fields)}"
    return Mistake(key, given, f"{allowed}{_did_you_mean(name, model.model_fields)}")


def _did_you_mean(given: object, known: Iterable[str]) -> str:
    near = get_close_matches(given.lower(), known, n=1) if isinstance(given, str) else []
    return f"; did you mean `{near[0]}`?" if near else ""


def _words_in(annotation: Any) -> tuple[str, ...]:
    """The words that a field of a few words allows."""
    if get_origin(annotation) is Literal:
        return tuple(word for word in get_args(annotation) if isinstance(word, str))
    return ()


def _place(location: list[int | str]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that holds the last key of `location`, and the innermost field on the way there."""
    model: type[BaseModel] | None = PlatformConfig
    field: FieldInfo | None = None
    for depth, part in enumerate(location):
        if isinstance(part, int) or model is None or part not in model.model_fields:
            continue
        field = model.model_fields[part]
        if depth < len(location) - 1:
            model = _model_in(field.annotation)
    return model, field


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section class in `annotation`, looked for inside tuples, unions and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _shown(value: object, *, secret: bool = False) -> str:
    """`value` as the owner wrote it, cut short; of a secret only its length."""
    if secret:
        return f"{len(str(value))} characters (not shown)"
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
