"""The stack under test: the one that runs, or one that this session starts and takes down again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.commands import Completed, run
from loadtest.targets.outputs import StackOutputs

CHECKOUT = Path(__file__).parent.parent
# Cold, on two cores, everything is built first.
_UP_SECONDS = 3300.0
_DOWN_SECONDS = 300.0
_NOT_RUNNING = 4
# Set by `tests.support.suite`: "yes" if the suite started the stack, "no" if the stack was running before.
STARTED_BY_THE_SUITE = "LKP_TESTS_STACK_STARTED"


@dataclass(frozen=True)
class RunningStack:
    """A healthy stack, and whether this session started it."""

    outputs: StackOutputs
    started_here: bool


@dataclass(frozen=True)
class ClusterAccess:
    """How a test reaches the cluster.

    Attributes:
        kubeconfig: a file whose current context is the cluster's.
        tools: a directory with pulumi, helm and kubectl.
        made_here: whether local/ made it; tests that disrupt a cluster refuse any other.
    """

    kubeconfig: Path
    tools: Path
    made_here: bool


def run_local(
    *words: str,
    timeout: float,
    check: bool = True,
    show_stderr: bool = False,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """`python -m local`; its stderr is shown, or goes into the exception of a failure."""
    command = [sys.executable, "-m", "local", *words]
    return run(command, cwd=CHECKOUT, env=env, timeout=timeout, check=check, show_stderr=show_stderr)


def local(*words: str, timeout: float, show_stderr: bool = False) -> str:
    """The stdout of `run_local`."""
    return run_local(*words, timeout=timeout, show_stderr=show_stderr).stdout


def resources_changed(stderr: str) -> str:
    """The end of the output of `up`: the number of resources by what was done to them, and the duration."""
    return stderr.rpartition("Resources:")[2]


def is_running() -> bool:
    """Whether a stack of this checkout runs, healthy or not: a half-dead one is healed by `up`."""
    return run_local("status", timeout=120, check=False).returncode != _NOT_RUNNING


def up() -> None:
    """Bring the stack up, or up to date.

    On a running one it is quick, and heals what is half dead: tests never run on either.
    """
    local("up", timeout=_UP_SECONDS, show_stderr=True)


def read_outputs() -> StackOutputs:
    return StackOutputs.model_validate_json(local("outputs", "--secrets", timeout=120))


def down() -> None:
    local("down", timeout=_DOWN_SECONDS)
