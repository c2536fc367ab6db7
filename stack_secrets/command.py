"""Completes the configuration of one stack: reads it, decides with `plan`, and writes it atomically."""

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
    """The configuration must be corrected first. The message names the mistake and contains no secret."""


@dataclass(frozen=True)
class Files:
    """Where the command reads and writes.

    Attributes:
        config: the stack's configuration.
        backups: a directory for copies of the state from before secrets were removed from it.
    """

    config: Path
    backups: Path


def complete(engine: Engine, files: Files, *, rotate: str | None = None) -> list[str]:
    """Take over, create, renew and replace secrets and certificates. Returns one sentence per change.

    An interrupt loses no value: a value is removed from the state only after the configuration file that
    contains it was completely written. The next call continues from there.

    Raises:
        CannotComplete: a section that decides what the stack needs is wrong, or the file changed meanwhile.
        WrongName: `rotate` is not one of the stack's secrets.
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
    """Do only what `destroy` needs: remove resources that only an earlier version's program could delete."""
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
    """All values in a section, valid or not. The preview validates them; nothing here overwrites them."""
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
    """Back up the encrypted state, and import it without the earlier resources."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    backup = backups / f"{engine.stack}-{moment}.json"
    write_whole(backup, json.dumps(exported), mode=0o600)
    engine.replace_state(takeover.without_legacy(exported))
    return f"took the earlier resources out of the state; backup (encrypted): {backup}"
