"""A node's processes: starting, finding, entering and ending them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.commands import CommandFailed, Completed, run
from common.processes import Process, process_of
from common.waiting import wait_until
from local.cluster import cgroups
from local.cluster.topology import NodeSpec, Topology

_ENTER = Path(__file__).parent / "node" / "enter.sh"
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Node:
    """A node of a topology and the directory that holds its file system and logs."""

    spec: NodeSpec
    directory: Path

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def logs(self) -> Path:
        return self.directory / "var-log"

    @property
    def _pid_file(self) -> Path:
        """Id and start time of the node's first process: a bare id may have been given to another since."""
        return self.directory / "pid"

    @property
    def _start_log(self) -> Path:
        return self.directory / "start.log"

    def pid(self) -> int | None:
        """The host's id of the node's first process, or None where the node does not run."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if Process(int(pid), int(started)).runs else None

    def start(self, topology: Topology, lower_directories: Sequence[Path]) -> None:
        """Start the node, unless it runs already; its disk is kept from an earlier run.

        Args:
            lower_directories: read-only trees that make up its root file system, the uppermost first.

        Raises:
            NeverHappened: containerd does not answer; see the node's logs.
        """
        if self.pid() is None:
            self._launch(topology, lower_directories)
        wait_until(
            lambda: self.run(["ctr", "version"], timeout=10, check=False).ok,
            timeout=_START_SECONDS,
            describe=f"containerd on {self.name} (log: {self.logs}/containerd.log)",
            tolerate=(CommandFailed,),
        )

    def _launch(self, topology: Topology, lower_directories: Sequence[Path]) -> None:
        self.stop(topology)
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "pid.new").unlink(missing_ok=True)
        joined = cgroups.create(topology.cgroup, self.name)
        lower = ":".join(map(str, lower_directories))
        with self._start_log.open("w") as log:
            process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.spec.netns}", "--"),
                    *("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--"),
                    *(str(_ENTER), self.name, str(self.directory), lower, *map(str, joined)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at `make up` is not for the node
            )

        def entered() -> int:
            if process.poll() is not None:
                raise CommandFailed(
                    [str(_ENTER), self.name],
                    f"exited with {process.returncode}",
                    self._start_log.read_text(),
                )
            written = self.directory / "pid.new"
            return int((written.read_text() if written.exists() else "").strip() or 0)

        pid = wait_until(entered, timeout=_START_SECONDS, describe=f"{self.name} to start", interval=0.05)
        first = process_of(pid)
        if first is None:
            raise CommandFailed([str(_ENTER), self.name], "ended at once", self._start_log.read_text())
        self._pid_file.write_text(f"{first.pid} {first.started}\n")

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """`argv` as a command line that runs it on the node.

        Raises:
            RuntimeError: the node does not run.
        """
        pid = self.pid()
        if pid is None:
            raise RuntimeError(f"{self.name} does not run: `make up` starts it")
        enter = ["nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        # The host's PATH and locale mean nothing on the node.
        clean = [
            "env",
            "-i",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ]
        return [*enter, "--wdns=/", "--", *clean, *map(str, argv)]

    def run(
        self, argv: Sequence[str | Path], *, timeout: float, input: str | None = None, check: bool = True
    ) -> Completed:
        """`common.commands.run` on the node."""
        return run(self.command(argv), timeout=timeout, input=input, check=check)

    def stop(self, topology: Topology) -> None:
        """End the node's first process, and with it all that its PID namespace holds.

        What is left in the node's cgroup (of a start that was interrupted before it was recorded)
        ends too.

        Raises:
            NeverHappened: something is still there after 30 s.
        """
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        cgroups.end_processes(f"{topology.cgroup}/{self.name}")
        self._pid_file.unlink(missing_ok=True)
