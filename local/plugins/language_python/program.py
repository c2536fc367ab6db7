"""One Pulumi program, run to its end in this process. Started as a script by the language host.

It imports nothing of this project, so that a program's environment needs only the SDK.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

# The exit code by which the official host's child says "the user has been told", kept for familiarity.
ALREADY_SHOWN = 32
# What shells report for a process that an interrupt ended.
INTERRUPTED = 130
# A resource waits in a thread for its dependencies, so there are more threads than operations at a time.
_THREADS_PER_OPERATION = 4


@dataclass(frozen=True)
class Invocation:
    """What the engine asked to run, and where the run reports to. Config values of secret keys are plain."""

    entry_point: str
    directory: str
    root_directory: str
    arguments: tuple[str, ...]
    project: str
    stack: str
    organization: str
    config: dict[str, str]
    secret_keys: tuple[str, ...]
    dry_run: bool
    parallel: int
    monitor: str
    engine: str

    def to_json(self) -> str:
        """For the child's standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Invocation:
        """The reverse of `to_json`."""
        fields = json.loads(text)
        fields["arguments"] = tuple(fields["arguments"])
        fields["secret_keys"] = tuple(fields["secret_keys"])
        return cls(**fields)


def users_part(error: BaseException, program: Path) -> str:
    """The traceback of `error` from the program's first own frame on; whole where there is none.

    What runs the program says nothing to its author.
    """
    main = (program / "__main__.py" if program.is_dir() else program).resolve()
    step: TracebackType | None = error.__traceback__
    while step is not None:
        if Path(step.tb_frame.f_code.co_filename).resolve() == main:
            return "".join(traceback.format_exception(type(error), error, step))
        step = step.tb_next
    return "".join(traceback.format_exception(error))


def run(invocation: Invocation) -> int:
    """Run the program as `python <entry point>` would, connected to the engine. Gives the exit code."""
    import pulumi  # noqa: PLC0415 - a missing SDK is for `main` to explain
    from pulumi import runtime  # noqa: PLC0415

    runtime.set_all_config(invocation.config, list(invocation.secret_keys))
    runtime.configure(
        runtime.Settings(
            monitor=invocation.monitor,
            engine=invocation.engine,
            project=invocation.project,
            stack=invocation.stack,
            parallel=invocation.parallel,
            dry_run=invocation.dry_run,
            organization=invocation.organization,
            root_directory=invocation.root_directory,
        )
    )
    os.chdir(invocation.directory)
    program = Path(invocation.entry_point).absolute()
    if program.is_dir() and not (program / "__main__.py").exists():
        pulumi.log.error(f"there is no program to run: {program} holds no __main__.py")
        return ALREADY_SHOWN
    sys.argv = [invocation.entry_point, *invocation.arguments]
    # Not this script's directory, which Python put there, but the program's.
    sys.path[0] = str(program if program.is_dir() else program.parent)

    # Where a run fails, the SDK drops the futures of resources that never came to be, unobserved by design.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    threads = ThreadPoolExecutor(max_workers=max(invocation.parallel, 1) * _THREADS_PER_OPERATION)
    loop.set_default_executor(threads)

    def main_program() -> None:
        runpy.run_path(invocation.entry_point, run_name="__main__")

    try:
        loop.run_until_complete(runtime.run_in_stack(main_program))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return 1
    except Exception as error:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{users_part(error, program)}")
        return ALREADY_SHOWN
    threads.shutdown(wait=True)
    loop.close()
    return 0


def main() -> None:
    """Run what stands on standard input and leave with its exit code."""
    invocation = Invocation.from_json(sys.stdin.read())
    try:
        code = run(invocation)
    except ImportError as error:
        if error.name != "pulumi":
            raise
        print(
            f"{sys.executable} has no Pulumi SDK: install the program's requirements into its environment",
            file=sys.stderr,
        )
        code = ALREADY_SHOWN
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as wanted:
        code = wanted.code if isinstance(wanted.code, int) else int(wanted.code is not None)
    # What `os._exit` leaves out: among them is who removes the files with the key of the cluster that the
    # Kubernetes client wrote.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that still wait for the engine must not hold up the end.
    os._exit(code)


if __name__ == "__main__":
    main()
