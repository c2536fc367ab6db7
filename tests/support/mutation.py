"""Mutation testing: does a test fail when the code is wrong?

Each mutant is one small change of one module, in a copy of a revision. The module's own tests run first,
then the rest of its unit directory. A mutant that no test notices has survived. Results are appended to a
file of JSON lines, so a run can be interrupted and continued.

mutmut and cosmic-ray change the files of one checkout. This program works on copies, so it can compare two
revisions, and it runs a module's own tests first, which saves most of the time.

    python3 -m local run -- python -m tests.support.mutation --log mutants.jsonl --rev HEAD
    python3 -m local run -- python -m tests.support.mutation --log mutants.jsonl --compare main HEAD
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.commands import CommandFailed, run
from tests.support import json_lines
from tests.support.mutants import Mutant, mutants, mutated, sample

CHECKOUT = Path(__file__).parents[2]
COUNT, SEED = 200, 12
_RUN_SECONDS = 1800.0
_TEST_SECONDS = 120
# pytest's exit codes: passed; and failed, a module or a conftest.py that cannot be imported.
_PASSED = 0
_NOTICED = (1, 2, 4)


@dataclass(frozen=True)
class Target:
    """A module, its unit directory, and the names (without suffix) of the files there that mainly test it."""

    module: str
    directory: str
    own: tuple[str, ...]

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """What to run until a test fails: paths and options of pytest."""
        files = tuple(f"{self.directory}/{name}.py" for name in self.own)
        rest = (self.directory, *(f"--ignore={file}" for file in files))
        return files, rest


_TOKEN_API, _INFRA, _LOADTEST = "tests/unit/token_api", "tests/unit/infra", "tests/unit/loadtest"
TARGETS = (
    Target("services/token-api/token_api/domain/access.py", _TOKEN_API, ("test_access", "test_who_may")),
    Target("services/token-api/token_api/tokens.py", _TOKEN_API, ("test_tokens", "test_token_endpoint")),
    Target("services/token-api/token_api/use_cases/access.py", _TOKEN_API, ("test_access", "test_who_may")),
    Target(
        "services/token-api/token_api/use_cases/streams.py", _TOKEN_API, ("test_streams", "test_lifecycle")
    ),
    Target("services/token-api/token_api/use_cases/moderation.py", _TOKEN_API, ("test_moderation",)),
    Target(
        "services/token-api/token_api/use_cases/webhooks_in.py", _TOKEN_API, ("test_inbox", "test_webhooks")
    ),
    Target("infra/livekit_platform/config_rules.py", _INFRA, ("test_config_rules", "test_config")),
    Target("infra/livekit_platform/ports.py", _INFRA, ("test_ports",)),
    Target("infra/livekit_platform/values/livekit.py", _INFRA, ("test_values",)),
    Target("loadtest/judging/validity.py", f"{_LOADTEST}/judging", ("test_validity",)),
)


@dataclass(frozen=True)
class Result:
    """The result for a mutant of a revision: "killed" by a test, or "survived"."""

    revision: str
    module: str
    key: str
    line: int
    outcome: str
    seconds: float


def revision_of(name: str) -> str:
    """The commit that `name` names. Raises CommandFailed if there is none."""
    command = ["git", "rev-parse", "--verify", f"{name}^{{commit}}"]
    return run(command, cwd=CHECKOUT, timeout=30).stdout.strip()


@contextmanager
def copy_of(revision: str, checkout: Path = CHECKOUT) -> Iterator[Path]:
    """A directory with the files of `revision`: the checkout itself is never changed."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as directory:
        archive = Path(directory) / "files.tar"
        run(["git", "archive", "--output", archive, revision], cwd=checkout, timeout=60)
        root = Path(directory) / "checkout"
        with tarfile.open(archive) as files:
            files.extractall(root, filter="data")
        archive.unlink()
        yield root


def sampled(root: Path, targets: Sequence[Target], count: int, seed: int) -> list[tuple[Target, Mutant]]:
    """About `count` mutants: the same number from each module, or all mutants if a module has fewer."""
    found = {target: mutants(target.module, (root / target.module).read_text()) for target in targets}
    longest = max(len(of_module) for of_module in found.values())
    each = next(
        (
            number
            for number in range(longest)
            if sum(min(len(one), number) for one in found.values()) >= count
        ),
        longest,
    )
    return [(target, mutant) for target in targets for mutant in sample(found[target], each, seed)]


def _tests_pass(root: Path, words: Sequence[str]) -> bool:
    """Whether the tests pass. A run that takes too long counts as a failure, as does an import error.

    Raises:
        CommandFailed: pytest could not run at all.
    """
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not long", "--hypothesis-seed=0"]
    command = [sys.executable, "-m", "pytest", *options, "-o", f"timeout={_TEST_SECONDS}", *words]
    try:
        done = run(command, cwd=root, timeout=_RUN_SECONDS, check=False)
    except CommandFailed as error:
        if error.reason.startswith("did not end"):
            return False
        raise
    if done.returncode not in (_PASSED, *_NOTICED):
        raise CommandFailed(done.argv, f"exited with {done.returncode}", done.stdout, done.stderr)
    return done.returncode == _PASSED


def _outcome(root: Path, target: Target, mutant: Mutant, stages: Sequence[Sequence[str]]) -> str:
    file = root / target.module
    unchanged = file.read_text()
    try:
        _write(file, mutated(unchanged, mutant))
        return "survived" if all(_tests_pass(root, words) for words in stages) else "killed"
    finally:
        _write(file, unchanged)


def _write(file: Path, source: str) -> None:
    """Write a module. If time and size stay the same, Python would reuse outdated compiled code."""
    for compiled in file.parent.glob(f"__pycache__/{file.stem}.*.pyc"):
        compiled.unlink()
    file.write_text(source)


def run_mutants(
    log: Path,
    revision: str,
    *,
    targets: Sequence[Target] = TARGETS,
    count: int = COUNT,
    seed: int = SEED,
    module: str = "",
    limit: int | None = None,
    own_tests_only: bool = False,
    checkout: Path = CHECKOUT,
) -> None:
    """Test the sampled mutants of a revision that `log` has no result for.

    Args:
        count: size of the sample.
        module: only modules whose path contains this text.
        limit: test at most this many mutants now.
        own_tests_only: leave out the rest of the unit directory.

    Raises:
        ValueError: the tests fail without any change, so that they would "kill" every mutant.
    """
    known = {result.key for result in json_lines.read(log, Result) if result.revision == revision}
    with copy_of(revision, checkout) as root:
        wanted = [
            (target, mutant)
            for target, mutant in sampled(root, targets, count, seed)
            if mutant.key not in known and module in target.module
        ][:limit]
        passing: set[str] = set()
        for number, (target, mutant) in enumerate(wanted, start=1):
            stages = target.stages[:1] if own_tests_only else target.stages
            if target.module not in passing:
                for words in stages:
                    if not _tests_pass(root, words):
                        raise ValueError(
                            f"{target.module}: its tests fail without a mutant: {' '.join(words)}"
                        )
                passing.add(target.module)
            started = time.monotonic()
            outcome = _outcome(root, target, mutant, stages)
            seconds = round(time.monotonic() - started, 1)
            result = Result(revision, target.module, mutant.key, mutant.line, outcome, seconds)
            json_lines.append(log, [result])
            print(
                f"[{number}/{len(wanted)}] {outcome} ({seconds} s) line {mutant.line} of {mutant.key}",
                flush=True,
            )


def summary(results: Sequence[Result]) -> str:
    """Killed and survived mutants of each module, and each survivor."""
    text = io.StringIO()
    for module in sorted({result.module for result in results}):
        of_module = [result for result in results if result.module == module]
        killed = sum(result.outcome == "killed" for result in of_module)
        print(f"{killed:4} killed, {len(of_module) - killed:3} survived  {module}", file=text)
    killed = sum(result.outcome == "killed" for result in results)
    print(f"{killed:4} killed, {len(results) - killed:3} survived  in total", file=text)
    for result in results:
        if result.outcome == "survived":
            print(f"survived: line {result.line} of {result.key}", file=text)
    return text.getvalue()


def comparison(before: Sequence[Result], after: Sequence[Result]) -> tuple[str, bool]:
    """Kills of both revisions among common mutants, and whether the second one kills at least as many."""
    common = {result.key for result in before} & {result.key for result in after}
    outcomes = [{result.key: result.outcome for result in results} for results in (before, after)]
    killed = [sum(of_revision[key] == "killed" for key in common) for of_revision in outcomes]
    lines = [f"{len(common)} mutants of both revisions: {killed[0]} killed before, {killed[1]} after"]
    lines += [
        f"{words}: {key}"
        for key in sorted(common)
        for words, pair in (
            ("no longer killed", ("killed", "survived")),
            ("now killed", ("survived", "killed")),
        )
        if (outcomes[0][key], outcomes[1][key]) == pair
    ]
    return "\n".join(lines), bool(common) and killed[1] >= killed[0]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.mutation", description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="file of JSON lines; results are appended")
    parser.add_argument("--rev", default="HEAD", help="revision to test (default HEAD: commit first)")
    parser.add_argument("--count", type=int, default=COUNT, help="size of the sample")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--limit", type=int, help="test so many of the sample now")
    parser.add_argument("--module", default="", help="only modules whose path contains this text")
    parser.add_argument(
        "--own-tests-only", action="store_true", help="leave out the rest of the unit directory"
    )
    parser.add_argument(
        "--compare", nargs=2, metavar=("BEFORE", "AFTER"), help="compare two tested revisions"
    )
    arguments = parser.parse_args(argv)
    if arguments.compare:
        results = json_lines.read(arguments.log, Result)
        before, after = (
            [result for result in results if result.revision == commit]
            for commit in map(revision_of, arguments.compare)
        )
        text, good = comparison(before, after)
        print(text)
        return 0 if good else 1
    revision = revision_of(arguments.rev)
    run_mutants(
        arguments.log,
        revision,
        count=arguments.count,
        seed=arguments.seed,
        module=arguments.module,
        limit=arguments.limit,
        own_tests_only=arguments.own_tests_only,
    )
    print(
        summary([result for result in json_lines.read(arguments.log, Result) if result.revision == revision])
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
