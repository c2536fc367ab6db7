"""The language host: what the engine asks of a language, answered for Python."""

# ruff: noqa: ARG002 - gRPC gives each method its request and context, used or not

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import LanguageRuntimeServicer, language_pb2, plugin_pb2

from local.plugins.language_python import packages
from local.plugins.language_python.program import ALREADY_SHOWN, INTERRUPTED, Invocation

# As long as the official host gives a program between the interrupt and the kill.
_SECONDS_TO_END = 5.0


class LanguageHost(LanguageRuntimeServicer):
    """Runs programs in a process of their own, so that their globals and their output are theirs.

    The program's stdout and stderr are this process's: the engine reads both and shows them live.
    """

    def __init__(self, engine_address: str) -> None:
        self._engine_address = engine_address
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._cancelled = False

    def cancel(self) -> None:
        """Interrupt running programs, kill those that stay, and start no further one."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for program in running:
            program.send_signal(signal.SIGINT)
        for program in running:
            try:
                program.wait(timeout=_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                program.kill()

    def Run(self, request: language_pb2.RunRequest, context: Any) -> language_pb2.RunResponse:
        """Run the program to its end. `bail` says that the user has already been told what went wrong."""
        try:
            python = interpreter(request.info, Path(sys.executable))
        except FileNotFoundError as error:
            return language_pb2.RunResponse(error=str(error))
        invocation = Invocation(
            entry_point=request.info.entry_point or ".",
            directory=request.pwd or request.info.program_directory,
            root_directory=request.info.root_directory,
            arguments=tuple(request.args),
            project=request.project,
            stack=request.stack,
            organization=request.organization or "organization",
            config=dict(request.config),
            secret_keys=tuple(request.configSecretKeys),
            dry_run=request.dryRun,
            parallel=request.parallel,
            monitor=request.monitor_address,
            engine=self._engine_address,
        )
        # A request that the engine drops is a run that nobody waits for.
        code = self._run(python, invocation, context.add_callback)
        if code == 0:
            return language_pb2.RunResponse()
        if code in (ALREADY_SHOWN, INTERRUPTED):
            return language_pb2.RunResponse(bail=True)
        ended = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with non-zero exit code: {code}"
        return language_pb2.RunResponse(error=f"program exited {ended}")

    def _run(
        self, python: Path, invocation: Invocation, on_dropped: Callable[[Callable[[], None]], Any]
    ) -> int:
        with self._lock:
            if self._cancelled:
                return INTERRUPTED
            program = subprocess.Popen(
                [str(python), "-u", str(Path(__file__).with_name("program.py"))],
                stdin=subprocess.PIPE,
                env=_program_environment(dict(os.environ)),
                text=True,
            )
            self._running.add(program)

        def interrupt_if_running() -> None:
            if program.poll() is None:
                program.send_signal(signal.SIGINT)

        on_dropped(interrupt_if_running)
        try:
            # Through stdin: config holds secrets, and arguments and environment are for everyone to read.
            program.communicate(invocation.to_json())
            code = program.returncode
        finally:
            with self._lock:
                self._running.discard(program)
        return INTERRUPTED if self._cancelled else code

    def GetRequiredPackages(
        self, request: language_pb2.GetRequiredPackagesRequest, context: Any
    ) -> language_pb2.GetRequiredPackagesResponse:
        """The Pulumi packages of this environment: the engine then misses a plugin before the run."""
        return language_pb2.GetRequiredPackagesResponse(packages=packages.required())

    def GetRequiredPlugins(
        self, request: language_pb2.GetRequiredPluginsRequest, context: Any
    ) -> language_pb2.GetRequiredPluginsResponse:
        """Empty: engines of the pinned version ask for packages."""
        return language_pb2.GetRequiredPluginsResponse()

    def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: Any
    ) -> language_pb2.GetProgramDependenciesResponse:
        """What `pulumi about` lists."""
        return language_pb2.GetProgramDependenciesResponse(dependencies=packages.installed())

    def About(self, request: language_pb2.AboutRequest, context: Any) -> language_pb2.AboutResponse:
        """Which Python runs the programs, for `pulumi about`."""
        return language_pb2.AboutResponse(executable=sys.executable, version=platform.python_version())

    def GetPluginInfo(self, request: empty_pb2.Empty, context: Any) -> plugin_pb2.PluginInfo:
        """The SDK's version: host and SDK are one here."""
        return plugin_pb2.PluginInfo(version=packages.version_of("pulumi"))

    def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: Any
    ) -> language_pb2.LanguageHandshakeResponse:
        """Take the engine's address from the handshake where the engine makes one."""
        if request.engine_address:
            self._engine_address = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def Cancel(self, request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:
        """The run was cancelled."""
        threading.Thread(target=self.cancel, daemon=True).start()  # the engine does not wait for it
        return empty_pb2.Empty()


def interpreter(info: language_pb2.ProgramInfo, default: Path) -> Path:
    """The Python that runs the program: of the `virtualenv` option in Pulumi.yaml, else `default`.

    Raises:
        FileNotFoundError: the option names something that is no virtual environment.
    """
    virtualenv = MessageToDict(info.options).get("virtualenv")
    if not virtualenv:
        return default
    python = Path(info.root_directory) / str(virtualenv) / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(
            f"Pulumi.yaml: runtime.options.virtualenv is {virtualenv!r}, but {python} does not exist; "
            "create the environment, or leave the option out to run on the environment of `make up`"
        )
    return python


def _program_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment without the path entry that brought this host here: a program imports its own only."""
    _, _, rest = environment.pop("PYTHONPATH", "").partition(os.pathsep)
    if rest:
        environment["PYTHONPATH"] = rest
    return environment
