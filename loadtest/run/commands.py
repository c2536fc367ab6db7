"""What each command of `python -m loadtest` does, for `loadtest.cli`. Each gives the exit code."""

from __future__ import annotations

import shlex
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import SystemRandom
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from common.commands import CommandFailed, run
from loadtest.definition.profile import NetworkProfile, UnusableProfile, builtin_profiles, load_profile
from loadtest.definition.scenario import Scenario
from loadtest.definition.scenario_file import UnusableScenario, builtin_scenarios, load_scenario
from loadtest.job.coordinator import run_in_cluster
from loadtest.job.planning import InCluster
from loadtest.net.bridge import NoFreeAddress
from loadtest.net.calibration import calibrate
from loadtest.net.emulation.backend import NoBackend
from loadtest.net.host import HostNamespace
from loadtest.net.irtt import IrttMissing
from loadtest.net.link import LinkDied
from loadtest.net.uplink import NoUplink
from loadtest.report.compare import NotComparable, check_comparable
from loadtest.report.compare import compare as compare_results
from loadtest.report.json_report import UnreadableReport, load_result
from loadtest.report.schema import schema_text
from loadtest.report.terminal import calibration_table, comparison_parts
from loadtest.report.words import headline
from loadtest.result import EXIT_CODES, RunResult, Verdict
from loadtest.run.conducting import Conducted, conduct
from loadtest.run.engine import run_scenario
from loadtest.run.matrix import profiles_for
from loadtest.run.needs import needs_of
from loadtest.run.observer import Observer
from loadtest.run.problems import CouldNotRun
from loadtest.run.targeting import CHECKOUT, TargetOptions, open_target, read_outputs
from loadtest.targets.rooms import TargetUnusable

REPORTS: Final = CHECKOUT / "reports"
_CALIBRATION_SECONDS = 5.0
_IMAGE_SECONDS = 1200.0
_MOST_SEED = 2**31
# What is a sentence for people already: no traceback says more.
PROBLEMS: Final = (
    CommandFailed,
    CouldNotRun,
    IrttMissing,
    LinkDied,
    NoBackend,
    NoFreeAddress,
    NoUplink,
    NotComparable,
    TargetUnusable,
    UnreadableReport,
    UnusableProfile,
    UnusableScenario,
)


@dataclass(frozen=True)
class InClusterOptions:
    """What the command line says of a run from inside the stack's cluster.

    Attributes:
        image: of the load generator; empty: that of this checkout, loaded into its own cluster.
    """

    pods: int
    image: str
    node_selector: Mapping[str, str]


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `run`. `out`, `seed` and `baseline` are None where they were not given."""

    scenario: str
    profile: str
    target: TargetOptions
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    out: Path | None = None
    baseline: Path | None = None
    plain: bool = False
    in_cluster: InClusterOptions | None = None


def run_one(options: RunOptions) -> int:
    """Run one scenario, and report it."""
    return EXIT_CODES[_run(options).verdict]


def run_all(*, out: Path | None, plain: bool, target: TargetOptions) -> int:
    """Run every built-in scenario on its profiles, go on whatever one of them says, and sum up."""
    directory = out or REPORTS / f"{_now()}-all"
    results: list[RunResult] = []
    for scenario in builtin_scenarios().values():
        for profile in profiles_for(scenario):
            where = directory / f"{scenario.name}-{profile}"
            options = RunOptions(scenario.name, profile, target, out=where, plain=plain)
            results.append(_run(options))
            if results[-1].interrupted:
                return _sum_up(results, directory)
    return _sum_up(results, directory)


def list_scenarios() -> int:
    """The built-in scenarios, as a table."""
    table = _table("scenario", "what it is", "measures", "needs")
    for scenario in builtin_scenarios().values():
        table.add_row(scenario.name, scenario.title, f"{scenario.duration_s:g} s", needs_of(scenario))
    Console().print(table)
    return 0


def list_profiles() -> int:
    """The built-in profiles, as a table."""
    table = _table("profile", "what it is", "kbit/s down/up", "delay ms down/up", "loss % down/up")
    for profile in builtin_profiles().values():
        ways = (profile.down, profile.up)
        table.add_row(
            profile.name,
            profile.title,
            " / ".join("–" if way.rate_kbps is None else str(way.rate_kbps) for way in ways),
            " / ".join(f"{way.delay_ms:g} ± {way.jitter_ms:g}" for way in ways),
            " / ".join(f"{100 * way.loss.ratio:.2g}" for way in ways),
        )
    Console().print(table)
    return 0


def calibrate_profile(name: str, *, seed: int | None, target: TargetOptions) -> int:
    """Make links of a profile and measure them; 2 where they are not what it claims, as a run would be."""
    profile = load_profile(name)
    if profile.is_ideal:
        raise CouldNotRun(f"profile {profile.name} has no link: there is nothing to calibrate")
    with (
        open_target(target) as opened,
        opened.client_network(links=True) as network,
        tempfile.TemporaryDirectory() as logs,
    ):
        if isinstance(network, HostNamespace):
            raise CouldNotRun("links need a client network, and this target gives none")
        found = calibrate(network, profile, seed=_seed(seed), seconds=_CALIBRATION_SECONDS, logs=Path(logs))
    console = Console()
    console.print(calibration_table([found]))
    for reason in found.reasons:
        console.print(reason, style="yellow")
    return EXIT_CODES[Verdict.PASSED if found.ok else Verdict.INVALID]


def compare(old: Path, new: Path) -> int:
    """Two reports side by side; 1 where something got worse."""
    comparison = compare_results(load_result(old), load_result(new))
    console = Console()
    for part in comparison_parts(comparison):
        console.print(part)
    return EXIT_CODES[Verdict.FAILED if comparison.worse else Verdict.PASSED]


def print_schema() -> int:
    """The JSON schema of the JSON report."""
    print(schema_text(), end="")
    return 0


def command_line(options: RunOptions, seed: int) -> str:
    """What to type to run it again: the seed is in it, a secret never is. Pure."""
    words = ["python", "-m", "loadtest", "run", options.scenario, "--profile", options.profile]
    for override in options.overrides:
        words += ["--set", override]
    words += ["--seed", str(seed)]
    if options.target.url:
        words += ["--url", options.target.url, "--api-key", options.target.api_key]
        words += ["--ca", options.target.ca] if options.target.ca else []
    elif options.target.outputs:
        words += ["--outputs", options.target.outputs]
    if options.in_cluster is not None:
        words += ["--in-cluster", str(options.in_cluster.pods)]
        words += ["--image", options.in_cluster.image] if options.in_cluster.image else []
        for label, value in options.in_cluster.node_selector.items():
            words += ["--node-selector", f"{label}={value}"]
    return shlex.join(words)


def _run(options: RunOptions) -> RunResult:
    scenario = load_scenario(options.scenario, options.overrides)
    profile = load_profile(options.profile)
    baseline = load_result(options.baseline) if options.baseline else None
    if baseline is not None:
        check_comparable(baseline, scenario.name, profile.name)
    seed = _seed(options.seed)
    out = options.out or REPORTS / f"{_now()}-{scenario.name}-{profile.name}"
    how = Conducted(
        scenario=scenario,
        profile=profile.name,
        out=out,
        baseline=baseline,
        plain=options.plain,
        command=command_line(options, seed),
    )
    work = _Work(options, scenario, profile, seed, how.logs)
    return conduct(how, work, PROBLEMS)


@dataclass(frozen=True)
class _Work:
    """The run itself: from here, or from pods of the stack's cluster."""

    options: RunOptions
    scenario: Scenario
    profile: NetworkProfile
    seed: int
    logs: Path

    def __call__(self, observer: Observer, stop: threading.Event) -> RunResult:
        inside = self.options.in_cluster
        if inside is None:
            with open_target(self.options.target) as target:
                return run_scenario(
                    self.scenario,
                    self.profile,
                    target,
                    seed=self.seed,
                    logs=self.logs,
                    observer=observer,
                    stop=stop,
                )
        return run_in_cluster(
            self.scenario,
            self.profile,
            read_outputs(self.options.target.outputs),
            InCluster(inside.pods, inside.image or _image(), inside.node_selector),
            seed=self.seed,
            logs=self.logs,
            observer=observer,
            stop=stop,
        )


def _image() -> str:
    """The load generator's image of this checkout, which its own cluster then has."""
    return run(
        [sys.executable, "-m", "local", "images-load"], cwd=CHECKOUT, timeout=_IMAGE_SECONDS
    ).stdout.strip()


def _sum_up(results: Sequence[RunResult], directory: Path) -> int:
    """One line for each run; the worst of their exit codes."""
    table = _table("scenario", "profile", "verdict")
    for result in results:
        table.add_row(result.scenario.name, result.profile, headline(result))
    console = Console()
    console.print(table)
    console.print(f"reports  {directory}", soft_wrap=True)
    return max(EXIT_CODES[result.verdict] for result in results)


def _table(*columns: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD, pad_edge=False)


def _seed(given: int | None) -> int:
    return SystemRandom().randrange(_MOST_SEED) if given is None else given


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
