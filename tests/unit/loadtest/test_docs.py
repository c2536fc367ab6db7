"""docs/loadtest.md says what the code says: its tables are these, and its examples load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.definition.profile import Direction, Loss, NetworkProfile, builtin_profiles, parse_profile
from loadtest.definition.scenario import METRICS, RUN_METRICS, NamedLimit, Scenario, Threshold
from loadtest.definition.scenario_file import builtin_scenarios, parse_scenario
from loadtest.judging.facts import ClientFacts, Window, facts_of
from loadtest.judging.named_limits import links_share_ms, resolve
from loadtest.report.words import meaning, unit_of
from loadtest.run.matrix import profiles_for
from loadtest.run.plan import plan_group

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "loadtest.md").read_text()
PROFILES = builtin_profiles()
SCENARIOS = builtin_scenarios()


def table(*rows: tuple[str, ...]) -> str:
    """Markdown; the first row is the heading."""
    heading, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, ("---",) * len(heading), *body))


def code(text: str) -> str:
    return f"`{text}`"


def both(down: str, up: str) -> str:
    return down if down == up else f"{down} / {up}"


def delay(way: Direction) -> str:
    return f"{way.delay_ms:g} ± {way.jitter_ms:g}"


def rate(way: Direction) -> str:
    return "no limit" if way.rate_kbps is None else str(way.rate_kbps)


def lost(loss: Loss) -> str:
    share = f"{100 * loss.ratio:.2g} %" if loss.ratio else "none"
    return share + (f", in bursts of {1 / loss.bad_to_good:g}" if loss.good_to_bad else "")


def viewer_of(profile: NetworkProfile) -> ClientFacts:
    """One of the built-in livestream."""
    creator, viewers = SCENARIOS["livestream"].groups
    members = [
        *plan_group(creator, PROFILES[creator.profile], ["room"]),
        *plan_group(viewers, profile, ["room"]),
    ]
    return facts_of(members[-1], members, window=Window(0, 30))


def profiles_table() -> str:
    return table(
        ("Profile", "kbit/s", "One way, ms", "Lost", "Links' share, ms", "`link-height`"),
        *(
            (
                code(profile.name),
                both(rate(profile.down), rate(profile.up)),
                both(delay(profile.down), delay(profile.up)),
                both(lost(profile.down.loss), lost(profile.up.loss)),
                f"{links_share_ms(viewer_of(profile)):g}",
                f"{resolve(NamedLimit.LINK_HEIGHT, viewer_of(profile)).value:g}",
            )
            for profile in PROFILES.values()
        ),
    )


def scenarios_table() -> str:
    return table(
        ("Scenario", "What it is", "Measured", "Clients"),
        *(
            (
                code(scenario.name),
                scenario.title,
                measured(scenario),
                ", ".join(f"{group.count} × {group.name}" for group in scenario.groups) or "none",
            )
            for scenario in SCENARIOS.values()
        ),
    )


def measured(scenario: Scenario) -> str:
    if scenario.ramp is not None:
        return f"{scenario.ramp.hold_s:g} s a size"
    return f"{scenario.duration_s:g} s"


def matrix_table() -> str:
    by_profiles: dict[tuple[str, ...], list[str]] = {}
    for scenario in SCENARIOS.values():
        by_profiles.setdefault(profiles_for(scenario), []).append(code(scenario.name))
    rows = [(", ".join(profiles), ", ".join(names)) for profiles, names in by_profiles.items()]
    return table(("`make loadtest-all` runs on", "these"), *rows)


def thresholds_table() -> str:
    def on(threshold: Threshold) -> str:
        return ", ".join(threshold.profiles) or "all"

    return table(
        ("Must hold in `livestream`", "On profiles"),
        *((code(str(each)), on(each)) for each in SCENARIOS["livestream"].thresholds),
    )


def metrics_table() -> str:
    return table(
        ("Of each client", "Unit", "What it is"),
        *((code(metric), unit_of(metric) or "–", meaning(metric)) for metric in METRICS),
    )


def run_metrics_table() -> str:
    return table(
        ("Of the whole run", "Unit", "What it is"),
        *((code(metric), unit_of(metric) or "–", meaning(metric)) for metric in RUN_METRICS),
    )


TABLES = {
    "profiles": profiles_table,
    "scenarios": scenarios_table,
    "what loadtest-all runs": matrix_table,
    "thresholds": thresholds_table,
    "metrics": metrics_table,
    "run metrics": run_metrics_table,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_the_code(name: str) -> None:
    wanted = TABLES[name]()
    assert wanted in PAGE, f"docs/loadtest.md must have this table of {name}:\n\n{wanted}"


def examples(language: str) -> Iterator[str]:
    yield from (found[1] for found in re.finditer(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


def test_the_worked_example_of_a_profile_loads() -> None:
    [text] = [example for example in examples("yaml") if "down:" in example]
    profile = parse_profile(text, source="docs/loadtest.md")
    assert profile.steps
    assert not profile.is_ideal


def test_the_worked_example_of_a_scenario_loads_and_judges_all_who_watch() -> None:
    [text] = [example for example in examples("yaml") if "groups:" in example]
    scenario = parse_scenario(text, source="docs/loadtest.md")
    judged = {threshold.group for threshold in scenario.thresholds}
    assert {group.name for group in scenario.groups if group.subscribe} <= judged
    assert scenario.name not in SCENARIOS


def test_overrides_that_the_page_shows_are_taken() -> None:
    shown = re.findall(r"run ([a-z-]+)((?: \\\n| |--\S+ \S+)*)", "\n".join(examples("sh")))
    assert len(shown) > 5
    for name, options in shown:
        if name in SCENARIOS:
            overrides = [given for given in re.findall(r"--set (\S+)", options) if "$" not in given]
            parse_scenario(
                (ROOT / "loadtest" / "scenarios" / f"{name}.yaml").read_text(),
                source=name,
                overrides=overrides,
            )


def test_lines_fit_and_links_lead_somewhere() -> None:
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    assert [line for line in PAGE.splitlines() if len(line) > 120] == []
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        path, _, fragment = target.partition("#")
        if path:
            assert path.startswith("https://") or (ROOT / "docs" / path).exists(), target
        else:
            assert fragment in headings, target


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
