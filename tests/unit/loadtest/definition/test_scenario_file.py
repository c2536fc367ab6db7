from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from loadtest.definition.profile import builtin_profiles
from loadtest.definition.scenario import PROFILE_OF_THE_RUN, Metric, NamedLimit, Scenario
from loadtest.definition.scenario_file import (
    UnusableScenario,
    builtin_scenarios,
    load_scenario,
    parse_scenario,
)
from loadtest.definition.scenario_rules import broken

BUILTIN = builtin_scenarios()

SMALL = """\
name: small
title: One and one
duration_s: 20
groups:
  - {name: creator, count: 1, publish: {camera: {}}}
  - {name: viewers, count: 1, subscribe: true}
actions:
  - {at_s: 5, kind: reconnect-full, group: viewers}
thresholds:
  - {group: viewers, metric: pictures, min: 1}
  - {group: viewers, metric: age_p95_ms, max: 3000}
  - {group: viewers, metric: age_p95_ms, max: 5000, profiles: [3g]}
"""


def small(*overrides: str) -> Scenario:
    return parse_scenario(SMALL, source="scenario small", overrides=overrides)


def mistakes(*overrides: str, text: str = SMALL) -> str:
    with pytest.raises(UnusableScenario) as caught:
        parse_scenario(text, source="scenario small", overrides=overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_scenario(name: str) -> None:
    scenario = BUILTIN[name]
    assert scenario.name == name
    assert scenario.thresholds
    known = {PROFILE_OF_THE_RUN, *builtin_profiles()}
    assert {group.profile for group in scenario.groups} <= known
    assert {profile for each in scenario.thresholds for profile in each.profiles} <= known
    assert load_scenario(name) == scenario


def test_the_built_in_ones_are_those_of_the_issue() -> None:
    assert set(BUILTIN) == {
        *(
            "livestream",
            "meeting",
            "audio-room",
            "join-storm",
            "token-storm",
            "churn",
            "soak",
            "screen-share",
        ),
        *(
            "find-the-limit",
            "find-the-limit-api",
            "reconnect-signal",
            "reconnect-full",
            "node-kill",
            "fallback",
        ),
        *("rmcat", "capacity-drop", "recording"),
    }


@pytest.mark.parametrize(
    "name", [n for n, s in BUILTIN.items() if any(g.publish and g.publish.camera for g in s.groups)]
)
def test_every_watcher_must_see_something(name: str) -> None:
    scenario = BUILTIN[name]
    judged = {each.group for each in scenario.thresholds if each.metric is Metric.PICTURES and each.min == 1}
    watching = {group.name for group in scenario.groups if group.subscribe and group.stay_s is None}
    assert judged == watching


def test_what_must_hold_in_a_livestream() -> None:
    held = {(each.metric, each.max, each.min, each.profiles) for each in BUILTIN["livestream"].thresholds}
    wide = ("ideal", "wifi", "4g")
    assert {
        (Metric.PICTURES, None, 1, ()),
        (Metric.AGE_P95_MS, 3000, None, ()),
        (Metric.LONGEST_FREEZE_MS, 3000, None, ()),
        (Metric.LATENCY_P50_MS, NamedLimit.LATENCY_OBJECTIVE, None, ()),
        (Metric.TOP_LAYER_S, 15, None, wide),
        (Metric.SETTLED_HEIGHT, NamedLimit.LINK_HEIGHT, None, ("3g", "3g-slow")),
        (Metric.ADAPT_S, 10, None, ("rmcat-step",)),
    } <= held


def test_overrides() -> None:
    scenario = small(
        "duration_s=12.5",
        "viewers.count=8",
        "groups.creator.publish.camera.fps=30",
        "viewers.arrival.per_s=2",
        "actions.reconnect-full.at_s=7",
        "thresholds.pictures.min=100",
        "thresholds.age_p95_ms.2.max=4000",
        "thresholds.age_p95_ms.1.profiles=[wifi, 4g]",
    )
    creator, viewers = scenario.groups
    assert (scenario.duration_s, viewers.count, viewers.arrival.per_s) == (12.5, 8, 2)
    assert creator.publish is not None
    assert creator.publish.camera is not None
    assert creator.publish.camera.fps == 30
    assert scenario.actions[0].at_s == 7
    assert [each.min or each.max for each in scenario.thresholds] == [100, 3000, 4000]
    assert scenario.thresholds[1].profiles == ("wifi", "4g")


def test_an_override_may_make_what_is_not_there() -> None:
    creator = small("creator.publish.microphone=true", "creator.publish.screen.fps=5").groups[0]
    assert creator.publish is not None
    assert creator.publish.screen is not None
    assert (creator.publish.microphone, creator.publish.screen.fps) == (True, 5)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("viewers.count", '--set: given "viewers.count"; allowed: path=value, such as viewers.count=8'),
        ("=3", '--set: given "=3"; allowed: path=value'),
        (
            "viewer.count=8",
            '--set viewer.count: given "viewer"; allowed: a path that begins with one of creator',
        ),
        ("viewer.count=8", "did you mean `viewers`?"),
        ("groups.viewer.count=8", "did you mean `viewers`?, or a number from 1 to 2"),
        ("viewers.cuont=8", "groups.viewers.cuont: given 8; allowed: one of the keys name, count, profile"),
        ("viewers.cuont=8", "did you mean `count`?"),
        ("viewers=3", "given no key of the entry; allowed: one of name, count, subscribe"),
        (
            "thresholds.age_p95_ms.max=3",
            "allowed: age_p95_ms and a number from 1 to 2, for there are 2 of them",
        ),
        (
            "thresholds.age_p95_ms.3.max=3",
            'given "3"; allowed: one of age_p95_ms, viewers, or a number from 1 to 2',
        ),
        ("duration_s={", 'given "{"; allowed: a value as in YAML'),
        ("duration_s=abc", 'duration_s: given "abc"; allowed: a number'),
        ("duration_s=.inf", "duration_s: given Infinity; allowed: a number that is not infinite"),
        ("duration_s=0", "duration_s: given 0; allowed: greater than 0"),
        ("viewers.count=1.5", "groups.viewers.count: given 1.5; allowed: a whole number"),
        ("viewers.count=yes", "groups.viewers: given true for count; allowed: no truth value there"),
        ("duration_s=true", "given true for duration_s; allowed: no truth value there"),
        ("viewers.count=501", "groups.viewers.count: given 501; allowed: less than or equal to 500"),
        ("viewers.transport=tcp", 'groups.viewers.transport: given "tcp"; allowed: one of all, relay'),
        ("creator.publish={}", "groups.creator.publish: given nothing; allowed: at least one of camera"),
        ("viewers.name=Vi", 'groups.Vi.name: given "Vi"; allowed: small letters, digits and hyphens'),
        (
            "viewers.name=creator",
            'groups.creator.name: given "creator" 2 times; allowed: a name that no other',
        ),
        ("creator.count=0", "groups.viewers.subscribe: given true; allowed: true only where some group"),
        ("groups=[]", "groups: given none, and no api; allowed: at least one group, or api"),
        ("groups=3", "groups: given 3; allowed: a list"),
        ("thresholds.pictures.metric=picturs", "did you mean `pictures`?"),
        (
            "thresholds.pictures.group=viewrs",
            'thresholds.pictures.group: given "viewrs"; allowed: one of creator',
        ),
        (
            "thresholds.pictures.group=creator",
            'given "creator", which does not; allowed: a group that subscribes',
        ),
        (
            "thresholds.pictures.group=''",
            "given nothing; allowed: one of creator, viewers: pictures is of each",
        ),
        (
            "thresholds.pictures.max=3",
            "thresholds.pictures: given both max and min; allowed: exactly one of them",
        ),
        (
            "thresholds.pictures.min=null",
            "thresholds.pictures: given neither max nor min; allowed: exactly one",
        ),
        ("thresholds.pictures.min=lots", 'min: given "lots"; allowed: a number, or one of latency-objective'),
        ("thresholds.pictures.min=top-height", "allowed: a number: top-height is a limit for settled_height"),
        ("thresholds.pictures.min=-1", "thresholds.pictures.min: given -1; allowed: 0 or more"),
        ("thresholds.pictures.metric=delivered_ratio", None),
        (
            "thresholds.pictures.metric=held",
            "thresholds.held: given held; allowed: only in a scenario with a ramp",
        ),
        ("thresholds.pictures.metric=api_p99_ms", "given api_p99_ms; allowed: only in a scenario with api"),
        ("thresholds.pictures.metric=sfu_cores_max", "allowed: no group: sfu_cores_max is of the whole run"),
        ("actions.1.at_s=20", "actions.reconnect-full.at_s: given 20; allowed: less than duration_s, 20"),
        ("actions.1.group=x", 'actions.reconnect-full.group: given "x"; allowed: one of creator, viewers'),
        (
            "actions.1.kind=capacity",
            "actions.capacity: given neither down_kbps nor up_kbps; allowed: one of them",
        ),
        ("actions.1.down_kbps=500", "given a capacity for reconnect-full; allowed: only for capacity"),
        ("ramp={group: x, start: 1, step: 1, most: 3, hold_s: 5}", 'ramp.group: given "x"; allowed: one of'),
        (
            "ramp={start: 1, step: 1, most: 3, hold_s: 5}",
            "ramp.group: given nothing; allowed: the name of a group",
        ),
        (
            "ramp={group: viewers, start: 4, step: 1, most: 3, hold_s: 5}",
            "given most 3; allowed: at least start, 4",
        ),
    ],
)
def test_what_an_override_may_not_do(override: str, told: str | None) -> None:
    if told is None:
        small(override)
    else:
        assert told in mistakes(override)


def test_a_ratio_is_at_most_one() -> None:
    told = mistakes("thresholds.pictures.metric=delivered_ratio", "thresholds.delivered_ratio.min=80")
    assert "thresholds.delivered_ratio.min: given 80; allowed: a number from 0 to 1" in told


def test_a_ramp_needs_a_threshold_that_ends_it() -> None:
    ramp = "ramp={group: viewers, start: 1, step: 1, most: 3, hold_s: 5}"
    told = mistakes(ramp, "thresholds=[{metric: held, min: 1}]")
    assert "thresholds: given none that a step can break" in told


def test_a_ramp_has_no_actions() -> None:
    ramp = "ramp={group: viewers, start: 1, step: 1, most: 3, hold_s: 5}"
    assert "actions: given reconnect-full; allowed: none beside a ramp" in mistakes(ramp)
    assert small(ramp, "actions=[]").ramp is not None


def test_all_mistakes_are_told_at_once() -> None:
    told = mistakes("viewers.count=-1", "duration_s=x", "creator.publish.camera.codec=vp9")
    assert told.startswith("scenario small has 3 mistakes:\n")
    assert 'groups.creator.publish.camera.codec: given "vp9"; allowed: one of vp8, h264; did you mean' in told


def test_a_value_that_none_of_several_types_takes_is_one_mistake() -> None:
    told = mistakes("thresholds.pictures.min=lots")
    assert told.startswith("scenario small has 1 mistake:\n")
    assert "allowed: a number, or one of latency-objective, link-height, top-height" in told


def test_a_key_that_stands_twice() -> None:
    assert "the key 'count' stands here a second time" in mistakes(
        text=SMALL.replace("count: 1,", "count: 1, count: 2,")
    )


def test_a_text_that_is_no_scenario() -> None:
    assert mistakes(text="- a\n- b\n") == (
        'scenario small: given ["a", "b"]; allowed: a mapping with name, title, …'
    )
    assert "is no YAML" in mistakes(text="a: [")


def test_one_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SMALL)
    assert load_scenario(str(file), ["viewers.count=2"]).groups[1].count == 2


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(
        UnusableScenario, match=r"given \"livestrem\"; allowed: .* did you mean `livestream`\?"
    ):
        load_scenario("livestrem")


def test_a_scenario_can_be_written_and_read_again() -> None:
    for scenario in BUILTIN.values():
        again = parse_scenario(yaml.safe_dump(scenario.model_dump(mode="json")), source="again")
        assert again == scenario
        assert broken(again) == []


RECORDED = SMALL.replace("actions:\n  - {at_s: 5, kind: reconnect-full, group: viewers}\n", "recording: {}\n")


def test_a_recording_has_a_layout() -> None:
    scenario = parse_scenario(RECORDED, source="scenario small")
    assert scenario.recording is not None
    assert scenario.recording.layout == "speaker"
    assert "allowed: one of speaker, grid, single-speaker" in mistakes(
        "recording.layout=mosaic", text=RECORDED
    )


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["rooms=2"], "rooms: given 2; allowed: 1 in a scenario with recording"),
        (
            ["creator.count=2"],
            "groups: given publishers creator × 2; allowed: exactly one publisher with camera",
        ),
        (["creator.count=0"], "groups: given publishers none; allowed: exactly one publisher with camera"),
    ],
)
def test_a_recording_has_one_marker(overrides: list[str], told: str) -> None:
    assert told in mistakes(*overrides, text=RECORDED)


def test_metrics_of_the_recording_need_one() -> None:
    text = SMALL + "  - {metric: recording_delivered_ratio, min: 0.9}\n"
    assert "allowed: only in a scenario with recording" in mistakes(text=text)
    assert parse_scenario(RECORDED + text.splitlines()[-1] + "\n", source="small").thresholds[-1].group == ""
