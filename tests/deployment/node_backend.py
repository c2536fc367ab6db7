"""testinfra on a node of the local cluster, which has no ssh: commands go through `local enter`."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import testinfra.host
from testinfra.backend.base import BaseBackend, CommandResult

from tests.running import CHECKOUT


class NodeBackend(BaseBackend):  # type: ignore[misc] # testinfra ships no types
    """A testinfra connection to the node of that name."""

    NAME = "node"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(hostname=name)

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        enter = shlex.join([sys.executable, "-m", "local", "enter", self.name, "--", "sh", "-c"])
        quoted = shlex.quote(self.get_command(command, *args))
        return self.run_local(f"cd {shlex.quote(str(CHECKOUT))} && {enter} {quoted}")


def node_host(name: str) -> testinfra.host.Host:
    """The node as a testinfra host."""
    return testinfra.host.Host(NodeBackend(name))
