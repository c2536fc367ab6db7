"""Whose Pulumi variables a command gets: the user's own, or those of the local stack."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

# Put before a command on the local stack. A passphrase that the user has for another stack would take
# precedence over this stack's file. `env` also searches the PATH that it is given, not ours.
OWN_PASSPHRASE = ("env", "-u", "PULUMI_CONFIG_PASSPHRASE")
_BACKEND = "PULUMI_BACKEND_URL"


def for_command(
    given: Mapping[str, str], ours: Mapping[str, str], state: Path, shims: Path, tools: Sequence[Path]
) -> dict[str, str]:
    """The environment of `run -- COMMAND`.

    What the user gave wins over ours. With a backend of the user's own nothing else of the local stack is
    in it: that stack's state must not be encrypted by a passphrase, nor belong to plugins, that go with
    `make down`.

    Commands nest (`make test` is one, and its tests run others): a value of ours, or of another
    instance, that an outer one put in is not the user's.

    Args:
        given: the environment of this process.
        ours: variables of the local stack, PATH among them.
        state: the directory below which all instances keep theirs.
        shims: the directory of our plugins.
        tools: directories to put on PATH in any case.
    """
    users = {
        name: value
        for name, value in given.items()
        if name.startswith("PULUMI_") and value != ours.get(name) and not _is_an_instances(value, state)
    }
    if not users.get(_BACKEND):
        users.pop(_BACKEND, None)  # an empty one is none to the engine, too
        return {**given, **ours, **users}
    entries = given.get("PATH", os.defpath).split(os.pathsep)
    nested = str(shims) in entries
    kept = {
        name: value
        for name, value in given.items()
        if not name.startswith("PULUMI_") or name in users or not (nested or _is_an_instances(value, state))
    }
    path = [*map(str, tools), *(entry for entry in entries if Path(entry) != shims)]
    return {**kept, "PATH": os.pathsep.join(path)}


def _is_an_instances(value: str, state: Path) -> bool:
    """Whether a variable names a file, or a file backend, that lies directly in an instance's directory."""
    return Path(value.removeprefix("file://")).parent.parent == state
