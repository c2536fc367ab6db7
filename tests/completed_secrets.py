"""Creates the secrets of a test's stack with the command that its owner would run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from common.commands import Completed, run
from tests.running import CHECKOUT


def complete_secrets(
    stack: str, config: Path, environment: Mapping[str, str], *words: str, check: bool = True
) -> Completed:
    """`make secrets` on the configuration file `config`, with the backend and passphrase of `environment`.

    Args:
        words: further options, such as `--rotate NAME`.

    Raises:
        CommandFailed: with its output, if `check`.
    """
    files = ["--config-file", str(config), "--backups", str(config.parent / "backups")]
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "infra")])
    return run(
        [sys.executable, "-m", "stack_secrets", "--stack", stack, *files, *words],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": paths},
        timeout=300,
        check=check,
    )
