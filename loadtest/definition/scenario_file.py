"""Reading scenarios: the built-in ones, one's own, and what the command line changes in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from loadtest.definition.scenario import Scenario
from loadtest.definition.scenario_rules import broken
from loadtest.definition.wording import Mistake, mistakes_in, one_of, shown

# What `--set` knows an entry of a list by. Where several have the same, the next word tells them apart.
_NAMES: Final = ("name", "metric", "kind", "group")


class UnusableScenario(Exception):
    """No such scenario, or one with mistakes; the message has all of them, each with what is allowed."""


def load_scenario(name_or_path: str, overrides: Sequence[str] = ()) -> Scenario:
    """A built-in scenario by its name, or one's own by the path of its YAML file.

    Args:
        overrides: each `path=value` as YAML: `duration_s=20`; `viewers.count=8`, which is short for
            `groups.viewers.count=8`; `thresholds.latency_p95_ms.max=500`.

    Raises:
        UnusableScenario: there is none, an override leads nowhere, or it has mistakes.
    """
    builtin = _builtin_files()
    if name_or_path in builtin:
        return parse_scenario(builtin[name_or_path], source=f"scenario {name_or_path}", overrides=overrides)
    path = Path(name_or_path)
    if not path.is_file():
        raise UnusableScenario(
            f"scenario: given {shown(name_or_path)}; allowed: the path of a YAML file, "
            f"or {one_of(name_or_path, builtin)}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableScenario(f"scenario {path} cannot be read: {error}") from error
    return parse_scenario(text, source=f"scenario {path}", overrides=overrides)


def builtin_scenarios() -> dict[str, Scenario]:
    """The scenarios that come with this package, by name."""
    return {name: parse_scenario(text, source=f"scenario {name}") for name, text in _builtin_files().items()}


def parse_scenario(text: str, *, source: str, overrides: Sequence[str] = ()) -> Scenario:
    """A scenario from its YAML. Pure.

    Args:
        source: what to call it in a message.

    Raises:
        UnusableScenario: with every mistake at once.
    """
    try:
        data = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UnusableScenario(f"{source} is no YAML: {error}") from error
    if not isinstance(data, dict):
        raise UnusableScenario(f"{source}: given {shown(data)}; allowed: a mapping with name, title, …")
    for override in overrides:
        _apply(data, override)
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        raise _unusable(source, mistakes_in(error, Scenario, data)) from error
    mistakes = broken(scenario)
    if mistakes:
        raise _unusable(source, mistakes)
    return scenario


def _unusable(source: str, mistakes: Sequence[Mistake | str]) -> UnusableScenario:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return UnusableScenario("\n".join([f"{source} has {count}:", *(f"  {mistake}" for mistake in mistakes)]))


def _builtin_files() -> dict[str, str]:
    directory = resources.files("loadtest") / "scenarios"
    files = sorted(directory.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".yaml")
    }


class _UniqueKeys(yaml.SafeLoader):
    """YAML whose mappings name a key once: PyYAML takes the last of several without a word."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen and key_node.value != "<<":
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands here a second time", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return {loader.construct_object(k): loader.construct_object(v, deep=True) for k, v in node.value}


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _apply(data: dict[str, Any], override: str) -> None:
    """Write one override into the data. Whether value and last key are allowed, the model says."""
    path, equals, text = override.partition("=")
    words = path.strip().split(".")
    if not equals or not all(words):
        raise UnusableScenario(
            f"--set: given {shown(override)}; allowed: path=value, such as viewers.count=8"
        )
    try:
        value = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UnusableScenario(f"--set {path}: given {shown(text)}; allowed: a value as in YAML") from error
    groups = [group.get("name") for group in data.get("groups") or () if isinstance(group, Mapping)]
    if words[0] not in Scenario.model_fields:
        if words[0] not in groups:
            known = [*(str(name) for name in groups), *Scenario.model_fields]
            allowed = f"a path that begins with {one_of(words[0], known)}"
            raise UnusableScenario(f"--set {path}: given {shown(words[0])}; allowed: {allowed}")
        words = ["groups", *words]
    _set(data, words, value, path)


def _set(place: dict[str, Any], words: Sequence[str], value: object, path: str) -> None:
    first, *rest = words
    if not rest:
        place[first] = value
        return
    inner = place.get(first)
    if isinstance(inner, list):
        entry, rest = _entry(inner, rest, path)
        if not rest:
            raise UnusableScenario(
                f"--set {path}: given no key of the entry; allowed: one of {', '.join(entry)}"
            )
        _set(entry, rest, value, path)
        return
    if not isinstance(inner, dict):
        # What is not there yet, such as `publish.camera.fps` of a camera with all defaults.
        inner = place[first] = {}
    _set(inner, rest, value, path)


def _entry(entries: list[Any], words: list[str], path: str) -> tuple[dict[str, Any], list[str]]:
    """The one entry of a list that the next words name, and the words after these.

    A word is a name, or a number from 1 among those that the words before it left.
    """
    left = [entry for entry in entries if isinstance(entry, dict)]
    for index, word in enumerate(words):
        number = int(word) if word.isdecimal() else 0
        found = [entry for entry in left if word in _names_of(entry)] or left[number - 1 : number] * (
            number > 0
        )
        if not found:
            raise _no_entry(left, word, path)
        left = found
        if len(left) == 1:
            return left[0], words[index + 1 :]
        # The next word is a key of the entries, and belongs to none of them yet.
        if index + 1 == len(words) - 1:
            break
    allowed = f"{'.'.join(words[:1])} and a number from 1 to {len(left)}, for there are {len(left)} of them"
    raise UnusableScenario(f"--set {path}: given {shown('.'.join(words))}; allowed: {allowed}")


def _no_entry(left: list[dict[str, Any]], word: str, path: str) -> UnusableScenario:
    known = sorted({name for entry in left for name in _names_of(entry)})
    allowed = f"{one_of(word, known)}, or a number from 1 to {len(left)}"
    return UnusableScenario(f"--set {path}: given {shown(word)}; allowed: {allowed}")


def _names_of(entry: Mapping[str, Any]) -> list[str]:
    return [str(entry[key]) for key in _NAMES if entry.get(key)]
