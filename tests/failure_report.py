"""What a failed test shows besides its traceback: logs of its processes, and the state of its namespaces."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.commands import CommandFailed
from tests.deployment.kubectl import Kubectl

_SHOWN_LOGS = 12
_SHOWN_LOG_CHARACTERS = 6000
_SHOWN_LINES = 40
# Of each container in a namespace, and of all of them.
_LOG_LINES, _ALL_LOG_LINES = 15, 400


def sections(item: pytest.Item, kubectl: Kubectl | None, namespaces: list[str]) -> Iterator[tuple[str, str]]:
    """Titles and texts for a test's report.

    Args:
        kubectl: for a test that uses the stack.
        namespaces: the namespaces that the test uses.
    """
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if isinstance(directory, Path):
        for log in sorted(directory.rglob("*.log"))[:_SHOWN_LOGS]:
            yield (
                f"log {log.relative_to(directory)}",
                log.read_text(errors="replace")[-_SHOWN_LOG_CHARACTERS:],
            )
    if kubectl is not None:
        for namespace in namespaces:
            yield from _of_namespace(kubectl, namespace)
    yield "to reproduce", f"python3 -m local run -- python -m pytest {shlex.quote(item.nodeid)}"


def _of_namespace(kubectl: Kubectl, namespace: str) -> Iterator[tuple[str, str]]:
    logs = ["logs", "--all-containers", "--prefix", f"--tail={_LOG_LINES}", "--max-log-requests=50"]
    for title, words, shown in (
        ("pods", ["get", "pods", "-o", "wide"], _SHOWN_LINES),
        ("events", ["get", "events", "--sort-by=.lastTimestamp"], _SHOWN_LINES),
        ("logs", [*logs, "-l", "!none"], _ALL_LOG_LINES),
    ):
        try:
            done = kubectl("-n", namespace, *words, check=False)
            lines = (done.stdout or done.stderr).splitlines()
        except CommandFailed as error:
            lines = str(error).splitlines()
        yield f"{title} of namespace {namespace}", "\n".join(lines[-shown:])
