"""Secrets for a stack that a test makes: by the command that its owner would run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from common.commands import run
from tests.running import CHECKOUT


def complete_secrets(stack: str, config: Path, environment: Mapping[str, str]) -> None:
    """`make secrets` on the configuration file `config`, with the backend and passphrase of `environment`.

    Raises:
        CommandFailed: with what it says.
    """
    files = ["--config-file", str(config), "--backups", str(config.parent / "backups")]
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "infra")])
    run(
        [sys.executable, "-m", "stack_secrets", "--stack", stack, *files],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": paths},
        timeout=300,
    )
