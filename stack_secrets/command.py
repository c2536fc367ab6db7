"""Completes the configuration of one stack: reads, decides by `plan`, and writes whole or not at all."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.files import write_whole
from livekit_platform.config_loader import SECRET_SECTIONS, describe, parse_sections
from livekit_platform.required_secrets import DECIDING_SECTIONS
from stack_secrets import takeover
from stack_secrets.engine import Engine
from stack_secrets.plan import Change, changes
from stack_secrets.takeover import TakenOver


class CannotComplete(Exception):
    """The configuration must be corrected first. The message says what, and holds no secret."""


@dataclass(frozen=True)
class Files:
    """Where the command reads and writes.

    Attributes:
        config: the stack's configuration.
        backups: a directory for the state as it was before secrets were taken out of it.
    """

    config: Path
    backups: Path


def complete(engine: Engine, files: Files, *, rotate: str | None = None) -> list[str]:
    """Take over, create, renew and replace. Gives a sentence for each change; none without a change.

    The order loses nothing, wherever it is interrupted: a value leaves the state only after the configuration
    file that holds it was replaced as a whole. The next call goes on from there.

    Raises:
        CannotComplete: a section that decides what the stack needs is wrong, or the file changed meanwhile.
        WrongName: `rotate` is none of the stack's secrets.
        CommandFailed: the engine failed.
    """
    exported = engine.export()
    needed = takeover.is_needed(exported)
    taken = takeover.values(engine.export_shown()) if needed else TakenOver()
    found = _planned(engine, files.config, taken, rotate)
    reports = [change.report for change in found]
    if found:
        _apply(engine, files.config, found)
    if needed:
        reports.append(_remove_from_state(engine, exported, files.backups))
    return reports


def take_over(engine: Engine, files: Files) -> list[str]:
    """Only what `destroy` needs: no resource is left that an earlier version of the program must delete."""
    return complete(engine, files) if takeover.is_needed(engine.export()) else []


def _planned(engine: Engine, config: Path, taken: TakenOver, rotate: str | None) -> list[Change]:
    if not config.is_file():
        raise CannotComplete(f"{config}: no such file; `pulumi stack init {engine.stack}` writes it")
    raw, secret_keys = engine.configuration(config)
    sections, mistakes = parse_sections(raw, secret_keys, stack=engine.stack)
    wrong = [name for name in DECIDING_SECTIONS if name not in sections]
    if wrong:
        blocking = [mistake for mistake in mistakes if mistake.key.partition(".")[0] in wrong]
        raise CannotComplete(describe(blocking, engine.stack))
    return changes(sections, {name: _texts(raw, name) for name in SECRET_SECTIONS}, taken, rotate)


def _texts(raw: Mapping[str, str], section: str) -> dict[str, str]:
    """What is present in a section, right or wrong: the preview judges it, and nothing here overwrites it."""
    if section not in raw:
        return {}
    try:
        values: Any = json.loads(raw[section])
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict):
        raise CannotComplete(f"{section}: given no object, allowed is an object with a key for each value")
    return {name: str(value) for name, value in values.items() if value is not None}


def _apply(engine: Engine, config: Path, found: list[Change]) -> None:
    """Write all settings, or none. The engine edits a copy, because it does not write a file atomically."""
    target = config.resolve()
    before = target.read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / config.name
        shutil.copyfile(target, copy)
        for change in found:
            for setting in change.settings:
                engine.set(copy, setting)
        completed = copy.read_text(encoding="utf-8")
    if target.read_bytes() != before:
        raise CannotComplete(f"{config} was changed meanwhile: nothing was written, take the command again")
    write_whole(target, completed, mode=stat.S_IMODE(target.stat().st_mode))


def _remove_from_state(engine: Engine, exported: Mapping[str, Any], backups: Path) -> str:
    """Back the encrypted state up, and import it without the earlier resources."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    backup = backups / f"{engine.stack}-{moment}.json"
    write_whole(backup, json.dumps(exported), mode=0o600)
    engine.replace_state(takeover.without_legacy(exported))
    return f"took the earlier resources out of the state; backup (encrypted): {backup}"
