"""The programs that `make up` and the tests call, in one directory to put on PATH.

A program that the machine has at a fitting version is taken; otherwise ours is built.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from common.commands import CommandFailed, run
from common.files import link_whole
from local.paths import Instance, state_root
from local.toolchain import go_tools
from local.toolchain.go_tools import GoTool
from local.toolchain.versions import fits


@dataclass(frozen=True)
class Tool:
    """A program by its name on PATH, how it tells its version, and what to build without it."""

    name: str
    version_command: tuple[str, ...]
    build: GoTool

    def on_path(self) -> Path | None:
        """The machine's own, where it has the major version that ours has and is no older."""
        found = shutil.which(self.name, path=machines_path())
        if found is None:
            return None
        try:
            printed = run([found, *self.version_command], timeout=20).stdout
        except CommandFailed:
            return None
        return Path(found) if fits(printed, self.build.version) else None


def machines_path() -> str:
    """PATH without the links of our own instances: tests run with these on it."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if not Path(entry).is_relative_to(state_root()))


TOOLS = (
    Tool("pulumi", ("version",), go_tools.PULUMI),
    Tool("helm", ("version", "--short"), go_tools.HELM),
    Tool("kubectl", ("version", "--client"), go_tools.KUBERNETES),
    # The manifest tests ask the real server whether it takes its configuration.
    Tool("livekit-server", ("--version",), go_tools.LIVEKIT_SERVER),
    # The tests of object-store-setup run it on this machine.
    Tool("versitygw", ("--version",), go_tools.VERSITYGW),
)


def directory(instance: Instance) -> Path:
    return instance.root / "bin"


def link(instance: Instance) -> Path:
    """Fill the directory with links; what must be built for it has been built.

    The one Kubernetes binary runs the component by whose name it is called: the link's.
    """
    target = directory(instance)
    for tool in TOOLS:
        # In one step: tests call the tools while `up` runs.
        link_whole(target / tool.name, tool.on_path() or tool.build.path)
    return target
