from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.support import json_lines
from tests.support.mutants import Mutant, mutants, mutated, sample
from tests.support.mutation import (
    CHECKOUT,
    TARGETS,
    Result,
    Target,
    comparison,
    main,
    run_mutants,
    summary,
)

SOURCE = '''
def older(age: int, limit: int = 18) -> bool:
    """Whether it is older."""
    if age < 0:
        raise ValueError(age)
    log.info("asked")
    check(age)
    return age >= limit and not limit == 3
'''


def changes(source: str) -> list[tuple[str, str]]:
    return [(mutant.before, mutant.after) for mutant in mutants("module.py", source)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("age < 0", "age <= 0"),
        ("age >= limit", "age > limit"),
        ("limit == 3", "limit != 3"),
        ("not limit == 3", "limit == 3"),
        ("age >= limit and (not limit == 3)", "age >= limit or not limit == 3"),
        ("18", "19"),
        ("raise ValueError(age)", "pass"),
        ("check(age)", "pass"),
        ("return age >= limit and (not limit == 3)", "return None"),
    ],
)
def test_each_kind_of_change_is_made(before: str, after: str) -> None:
    assert (before, after) in changes(SOURCE)


def test_documentation_log_lines_and_types_stay() -> None:
    assert not [before for before, _ in changes(SOURCE) if "older" in before or "log" in before]
    assert changes("value: dict[str, int] = {}\ndef get() -> list[int]: ...\n") == []


def test_a_mutant_is_the_module_with_one_change() -> None:
    unchanged = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in mutants("module.py", SOURCE):
        assert ast.unparse(ast.parse(mutated(SOURCE, mutant))).splitlines() != unchanged, mutant
    [mutant] = [one for one in mutants("module.py", SOURCE) if one.after == "age <= 0"]
    differing = [
        pair
        for pair in zip(unchanged, mutated(SOURCE, mutant).splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    assert [pair[1].strip() for pair in differing] == ["if age <= 0:"]
    assert mutant.line == 4


def test_keys_are_unique_and_do_not_depend_on_other_functions() -> None:
    keys = [mutant.key for mutant in mutants("module.py", SOURCE)]
    assert len(set(keys)) == len(keys)
    longer = "def other(): return 1 + 1\n" + SOURCE
    assert set(keys) <= {mutant.key for mutant in mutants("module.py", longer)}


def test_the_sample_is_the_same_each_time_and_another_by_another_seed() -> None:
    found = mutants("module.py", SOURCE)
    assert sample(found, 5, 1) == sample(list(reversed(found)), 5, 1)
    assert len(sample(found, 5, 1)) == 5
    assert any(sample(found, 5, seed) != sample(found, 5, 1) for seed in range(2, 6))


def test_each_target_exists_and_has_enough_mutants() -> None:
    for target in TARGETS:
        found: list[Mutant] = mutants(target.module, (CHECKOUT / target.module).read_text())
        assert len(found) > 10, target.module
        for words in target.stages:
            assert all((CHECKOUT / word.removeprefix("--ignore=")).exists() for word in words)


# Each mutant starts pytest, which loads every installed plugin by default. These are the ones whose options
# `tests.support.mutation` gives; without the others, pytest starts in a tenth of the time.
_INI = """\
[pytest]
pythonpath = .
addopts = -p _hypothesis_pytestplugin -p pytest_timeout
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One module with two decisions. Its test checks only one of them."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tmp_path / "repository"
    tests = root / "tests"
    tests.mkdir(parents=True)
    (root / "pytest.ini").write_text(_INI)
    (root / "module.py").write_text("def big(n):\n    return n > 10\n\n\ndef small(n):\n    return n < 10\n")
    (tests / "test_big.py").write_text(
        "from module import big\n\n\ndef test_big():\n    assert [big(11), big(10)] == [True, False]\n"
    )
    (tests / "test_rest.py").write_text("def test_nothing():\n    pass\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(root)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return root


def test_what_a_test_checks_is_killed_and_the_rest_survives(repository: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    target = Target("module.py", "tests", ("test_big",))

    def go_on(limit: int | None) -> list[Result]:
        run_mutants(log, "HEAD", targets=[target], count=4, limit=limit, checkout=repository)
        return json_lines.read(log, Result)

    assert len(go_on(2)) == 2
    results = go_on(None)
    assert len({result.key for result in results}) == len(results) == 4
    assert {(".big:" in result.key, result.outcome) for result in results} == {
        (True, "killed"),
        (False, "survived"),
    }
    assert go_on(None) == results
    assert "n > 10" in (repository / "module.py").read_text()
    assert "2 killed,   2 survived  module.py" in summary(results)


def test_tests_that_fail_without_a_mutant_kill_none(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fail without a mutant"):
        run_mutants(
            tmp_path / "log.jsonl",
            "HEAD",
            targets=[Target("module.py", "tests", ("test_missing",))],
            count=1,
            checkout=repository,
        )


def result(revision: str, key: str, outcome: str) -> Result:
    return Result(revision, "module.py", key, 1, outcome, 1.0)


def test_two_revisions_are_compared_by_the_mutants_that_both_have() -> None:
    before = [result("a", "one", "killed"), result("a", "two", "survived"), result("a", "gone", "killed")]
    better = [result("b", "one", "killed"), result("b", "two", "killed"), result("b", "new", "survived")]
    text, good = comparison(before, better)
    assert good
    assert "2 mutants of both revisions: 1 killed before, 2 after" in text
    assert "now killed: two" in text
    text, good = comparison(better, before)
    assert not good
    assert "no longer killed: two" in text


def test_a_comparison_of_nothing_is_no_success(tmp_path: Path) -> None:
    assert main(["--log", str(tmp_path / "log.jsonl"), "--compare", "HEAD", "HEAD"]) == 1
