"""The calls of `pulumi` that read and write a stack's configuration and state.

Values are passed to the engine by standard input and read from its standard output. They never appear in an
argument or in an error message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.commands import CommandFailed, Completed, run
from livekit_platform.names import PROJECT
from stack_secrets.plan import Setting

_SECONDS = 120.0


@dataclass(frozen=True)
class Engine:
    """`pulumi` on one stack, with the backend and the secrets provider of the environment.

    Attributes:
        project: the directory with Pulumi.yaml.
    """

    stack: str
    project: Path

    def configuration(self, file: Path) -> tuple[dict[str, str], set[str]]:
        """The decrypted values by key, without the project's prefix, and the keys that Pulumi encrypts."""
        words = ["config", "--json", "--show-secrets", "--config-file", str(file)]
        prefix = f"{PROJECT}:"
        entries: dict[str, dict[str, Any]] = {
            key.removeprefix(prefix): entry
            for key, entry in json.loads(self._secretly(*words)).items()
            if key.startswith(prefix)
        }
        secret = {key for key, entry in entries.items() if entry["secret"]}
        return {key: str(entry.get("value", "")) for key, entry in entries.items()}, secret

    def set(self, file: Path, setting: Setting) -> None:
        """Write one value into `file`. The engine keeps the file's comments."""
        kind = "--secret" if setting.encrypted else "--plaintext"
        key = f"{PROJECT}:{setting.key}"
        # The engine removes the last newline of its input, and a certificate ends with one that must stay.
        given = f"{setting.value}\n"
        self._pulumi("config", "set", kind, "--path", key, "--config-file", str(file), given=given)

    def export(self) -> dict[str, Any]:
        """The state, with encrypted secrets."""
        return _parsed(self._pulumi("stack", "export").stdout)

    def export_shown(self) -> dict[str, Any]:
        """The state, with secrets in plain text. Never write it to a file."""
        return _parsed(self._secretly("stack", "export", "--show-secrets"))

    def replace_state(self, exported: Mapping[str, Any]) -> None:
        """`pulumi stack import`."""
        self._pulumi("stack", "import", given=json.dumps(exported))

    def _secretly(self, *words: str) -> str:
        """The output of a command that prints secrets. Error messages contain none of this output."""
        try:
            return self._pulumi(*words).stdout
        except CommandFailed as error:
            raise CommandFailed(error.argv, error.reason, "", error.stderr) from None

    def _pulumi(self, *words: str, given: str | None = None) -> Completed:
        where = ["--stack", self.stack, "--cwd", str(self.project), "--non-interactive", "--color=never"]
        return run(["pulumi", *words, *where], input=given, timeout=_SECONDS)


def _parsed(text: str) -> dict[str, Any]:
    return dict(json.loads(text))
