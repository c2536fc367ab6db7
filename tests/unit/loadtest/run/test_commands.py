"""The command: arguments that are wrong end with 3 and say which; the line to type again has no secret."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from pydantic import SecretStr

from loadtest.cli import main
from loadtest.definition.scenario_file import builtin_scenarios
from loadtest.run.commands import InClusterOptions, RunOptions, command_line
from loadtest.run.matrix import profiles_for
from loadtest.run.needs import needs_of
from loadtest.run.targeting import TargetOptions


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "COMMAND"),
        ("rum livestream", "rum"),
        ("run", "SCENARIO"),
        ("run livestraem", "livestream"),
        ("run livestream --profile 4gg", "4g"),
        ("run livestream --prof 4g", "--prof"),
        ("run livestream --set viewers.cuont=8", "count"),
        ("run livestream --set viewers.count", "path=value"),
        ("run livestream --set duration_s=-1", "duration_s"),
        ("run livestream --seed x", "--seed: given 'x'; allowed: a whole number from 0"),
        ("run livestream --baseline nowhere.json", "nowhere.json"),
        ("run livestream --image x", "--image is given without --in-cluster"),
        ("run livestream --in-cluster 0", "--in-cluster: given '0'; allowed: a whole number from 1"),
        ("run livestream --in-cluster 2 --node-selector x", "allowed: KEY=VALUE"),
        ("run livestream --in-cluster 2 --url ws://a", "--in-cluster and --url"),
        ("calibrate nothing", "nothing"),
        ("compare nowhere.json nowhere.json", "nowhere.json"),
    ],
)
def test_wrong_arguments_end_with_3_and_are_named(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(shlex.split(arguments))
    except SystemExit as exit:
        code = exit.code
    assert code == 3
    assert said in capsys.readouterr().err


def test_lists_and_schema_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert [main([name]) for name in ("list", "profiles", "schema")] == [0, 0, 0]
    printed = capsys.readouterr().out
    assert "livestream" in printed
    assert "rmcat-step" in printed
    assert '"schema_version"' in printed


def test_the_line_to_type_again_has_the_seed_and_no_secret() -> None:
    options = RunOptions(
        scenario="livestream",
        profile="4g",
        overrides=("viewers.count=8", "duration_s=20"),
        out=Path("somewhere"),
        target=TargetOptions(
            url="wss://a.example", api_key="key", api_secret=SecretStr("hidden"), ca="a.pem"
        ),
    )
    assert command_line(options, 7) == (
        "python -m loadtest run livestream --profile 4g --set viewers.count=8 --set duration_s=20 --seed 7 "
        "--url wss://a.example --api-key key --ca a.pem"
    )


def test_the_line_of_a_run_inside_the_cluster() -> None:
    options = RunOptions(
        scenario="meeting",
        profile="ideal",
        target=TargetOptions(),
        in_cluster=InClusterOptions(pods=3, image="", node_selector={"pool": "load"}),
    )
    assert command_line(options, 1).endswith("--seed 1 --in-cluster 3 --node-selector pool=load")


def test_every_built_in_scenario_has_profiles_and_says_what_it_needs() -> None:
    scenarios = builtin_scenarios()
    assert all(profiles_for(scenario) for scenario in scenarios.values())
    assert profiles_for(scenarios["rmcat"]) == ("ideal",), "all of its groups have profiles of their own"
    assert "token API" in needs_of(scenarios["token-storm"])
    assert "SFU is killed" in needs_of(scenarios["node-kill"])
