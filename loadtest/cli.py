"""The command: `python -m loadtest run livestream --profile 4g`, and what goes with it.

Exit codes of `run` and `run-all`: 0 all thresholds held, 1 some were missed, 2 the run is invalid,
3 it could not run, which is also that of wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, cast

from loadtest.result import EXIT_CODES, Verdict
from loadtest.run import commands
from loadtest.run.problems import CouldNotRun
from loadtest.run.targeting import TargetOptions, target_options

COULD_NOT_RUN = EXIT_CODES[Verdict.COULD_NOT_RUN]
_DEFAULT_PROFILE = "wifi"


class _Parser(argparse.ArgumentParser):
    """Wrong arguments end with 3: argparse's own 2 would say that a run was invalid."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(COULD_NOT_RUN, f"{self.prog}: {message}\n")


def _at_least(least: int) -> Callable[[str], int]:
    """A type of argument: whole numbers from `least`."""

    def parse(given: str) -> int:
        try:
            number = int(given)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"given {given!r}; allowed: a whole number from {least}")
        return number

    return parse


def _label(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"given {given!r}; allowed: KEY=VALUE")
    return key, value


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say; gives the exit code."""
    given = _parser().parse_args(argv)
    action = cast("Callable[[argparse.Namespace], int]", given.action)
    try:
        return action(given)
    except commands.PROBLEMS as error:
        print(f"could not run: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("could not run: interrupted before it began", file=sys.stderr)
    except Exception:  # Python's own 1 would say that thresholds were missed
        traceback.print_exc()
        print("could not run: this is a mistake in loadtest itself; please report it", file=sys.stderr)
    return COULD_NOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m loadtest",
        description="Drives a LiveKit with real clients on links of known quality, and says if it holds.",
        epilog="Exit codes: 0 thresholds held, 1 some were missed, 2 the run is invalid, 3 it could not run.",
        allow_abbrev=False,
    )
    commands_of = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, action: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        made = commands_of.add_parser(name, help=help, description=help, allow_abbrev=False)
        made.set_defaults(action=action)
        return made

    run = command("run", _run, "run one scenario")
    run.add_argument("scenario", metavar="SCENARIO", help="a built-in one (see `list`), or a YAML file")
    run.add_argument(
        "--profile",
        default=_DEFAULT_PROFILE,
        help=f"link of groups that have none of their own: a built-in one (see `profiles`), or a YAML file; "
        f"default {_DEFAULT_PROFILE}",
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="overrides",
        help="change the scenario, such as viewers.count=8 or duration_s=20; may be given again",
    )
    run.add_argument("--seed", type=_at_least(0), help="of the links' random numbers; without it, a new one")
    run.add_argument("--baseline", type=Path, metavar="FILE", help="the JSON report of a run to compare with")
    inside = run.add_argument_group("from inside the stack's cluster, by pods, on profile ideal")
    inside.add_argument("--in-cluster", type=_at_least(1), metavar="PODS", help="how many pods make the load")
    inside.add_argument(
        "--image",
        default="",
        help="of the load generator, as nodes pull it; by default this checkout's own, loaded",
    )
    inside.add_argument(
        "--node-selector",
        action="append",
        default=[],
        type=_label,
        metavar="KEY=VALUE",
        help="label of the nodes that may carry the pods; may be given again",
    )
    _add_common(run)

    everything = command("run-all", _run_all, "run every built-in scenario on its profiles")
    _add_common(everything)

    command("list", lambda _: commands.list_scenarios(), "the built-in scenarios")
    command("profiles", lambda _: commands.list_profiles(), "the built-in network profiles")
    calibrate = command(
        "calibrate", _calibrate, "make a profile's link and measure whether it is what it claims"
    )
    calibrate.add_argument("profile", metavar="PROFILE")
    calibrate.add_argument(
        "--seed", type=_at_least(0), help="of the link's random numbers; without it, a new one"
    )
    _add_target(calibrate)
    compare = command(
        "compare", lambda given: commands.compare(given.old, given.new), "two runs' JSON reports"
    )
    compare.add_argument("old", type=Path, metavar="OLD")
    compare.add_argument("new", type=Path, metavar="NEW")
    command("schema", lambda _: commands.print_schema(), "the JSON schema of the JSON report, on stdout")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="for the reports and logs; by default reports/<time>-<scenario>-<profile>",
    )
    parser.add_argument(
        "--plain", action="store_true", help="lines instead of a live display, as where there is no terminal"
    )
    _add_target(parser)


def _add_target(parser: argparse.ArgumentParser) -> None:
    target = parser.add_argument_group(
        "target",
        "The stack of this checkout, unless one of these says another. Give secrets by variables.",
    )
    target.add_argument(
        "--outputs", default="", metavar="FILE", help="outputs of a stack as JSON; - for stdin"
    )
    target.add_argument("--url", default="", help="any LiveKit server, ws:// or wss://")
    target.add_argument("--api-key", default="", help="with --url; or LIVEKIT_API_KEY")
    target.add_argument("--api-secret", default="", help="with --url; or LIVEKIT_API_SECRET")
    target.add_argument(
        "--ca", default="", metavar="FILE", help="with --url: the authority of its certificate, PEM"
    )


def _target(given: argparse.Namespace) -> TargetOptions:
    return target_options(
        outputs=given.outputs,
        url=given.url,
        api_key=given.api_key,
        api_secret=given.api_secret,
        ca=given.ca,
    )


def _run(given: argparse.Namespace) -> int:
    return commands.run_one(
        commands.RunOptions(
            scenario=given.scenario,
            profile=given.profile,
            overrides=tuple(given.overrides),
            seed=given.seed,
            out=given.out,
            baseline=given.baseline,
            plain=given.plain,
            target=_target(given),
            in_cluster=_in_cluster(given),
        )
    )


def _in_cluster(given: argparse.Namespace) -> commands.InClusterOptions | None:
    """None for a run from this machine.

    Raises:
        CouldNotRun: options that go with --in-cluster stand alone, or one that does not stands with it.
    """
    if given.in_cluster is None:
        for option, value in (("--image", given.image), ("--node-selector", given.node_selector)):
            if value:
                raise CouldNotRun(f"{option} is given without --in-cluster; allowed is with it")
        return None
    if _target(given).url:
        raise CouldNotRun(
            "--in-cluster and --url are given; allowed is one of them: pods run in the stack's cluster"
        )
    return commands.InClusterOptions(given.in_cluster, given.image, dict(given.node_selector))


def _run_all(given: argparse.Namespace) -> int:
    return commands.run_all(out=given.out, plain=given.plain, target=_target(given))


def _calibrate(given: argparse.Namespace) -> int:
    return commands.calibrate_profile(given.profile, seed=given.seed, target=_target(given))
