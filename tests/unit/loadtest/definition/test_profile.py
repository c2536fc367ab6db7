from pathlib import Path

import pytest

from loadtest.definition.profile import (
    Direction,
    Loss,
    NetworkProfile,
    Step,
    UnusableProfile,
    builtin_profiles,
    load_profile,
    parse_profile,
)

# Down and up kbit/s, one-way delay and jitter in ms, loss: the table.
BUILTIN = {
    "3g-slow": ((500, 200, 50), (500, 200, 50), 0.005),
    "3g": ((1600, 75, 50), (750, 75, 50), 0.005),
    "4g": ((9000, 30, 5), (1500, 30, 15), 0.002),
    "wifi": ((30000, 1, 2), (15000, 1, 2), 0.01),
    "wifi-congested": ((5000, 10, 20), (5000, 10, 20), 0.1),
    "rmcat-step": ((1000, 50, 15), (1000, 50, 15), 0),
}


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_profile_is_what_the_table_says(name: str) -> None:
    profile = load_profile(name)
    down, up, loss = BUILTIN[name]
    for direction, wanted in ((profile.down, down), (profile.up, up)):
        found = (direction.rate_kbps, direction.delay_ms, direction.jitter_ms)
        assert list(found) == list(wanted)
        assert direction.loss.ratio == pytest.approx(loss, rel=1e-4)
        assert direction.queue_ms == 300
    assert profile.name == name
    assert not profile.reorder
    assert not profile.is_ideal


def test_there_are_no_other_builtin_profiles_but_the_ideal_one() -> None:
    assert set(builtin_profiles()) == {*BUILTIN, "ideal"}
    assert load_profile("ideal").is_ideal


def test_rmcat_steps_are_those_of_the_rfc() -> None:
    steps = load_profile("rmcat-step").steps
    assert [(step.at_s, step.down_kbps, step.up_kbps) for step in steps] == [
        (40, 2500, 2500),
        (60, 600, 600),
        (80, 1000, 1000),
    ]


def test_ones_own_profile_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(
        """
name: train
title: a tunnel now and then
down: {rate_kbps: 2000, delay_ms: 40.5, loss: {good_to_bad: 0.01, bad_to_good: 0.1, lost_in_bad: 0.8}}
steps: [{at_s: 5, down_kbps: 100}, {at_s: 10.5, down_kbps: 2000}]
reorder: true
"""
    )
    assert load_profile(str(path)) == NetworkProfile(
        name="train",
        title="a tunnel now and then",
        down=Direction(
            rate_kbps=2000,
            delay_ms=40.5,
            loss=Loss(good_to_bad=0.01, bad_to_good=0.1, lost_in_bad=0.8),
        ),
        steps=(Step(at_s=5, down_kbps=100), Step(at_s=10.5, down_kbps=2000)),
        reorder=True,
    )


def test_a_profile_is_the_same_after_a_way_through_json() -> None:
    for profile in builtin_profiles().values():
        assert NetworkProfile.model_validate_json(profile.model_dump_json()) == profile


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("down: {delay_ms: -1}", "down.delay_ms: it is -1; allowed is milliseconds, from 0 to 10000"),
        ("up: {jitter_ms: .inf}", "up.jitter_ms: it is inf; allowed is milliseconds, from 0 to 10000"),
        ("up: {delay_ms: '5'}", "up.delay_ms: it is '5'; allowed is milliseconds"),
        ("up: {rate_kbps: 0}", "up.rate_kbps: it is 0; allowed is whole kbit/s, from 16 to 10000000"),
        ("up: {rate_kbps: 1.5}", "up.rate_kbps: it is 1.5; allowed is whole kbit/s"),
        ("down: {queue_ms: 0}", "down.queue_ms: it is 0; allowed is milliseconds, above 0"),
        ("down: {loss: 1.5}", "down.loss.lost_in_good: it is 1.5; allowed is a number from 0 to 1"),
        ("down: {loss: {bad_to_good: 2}}", "down.loss.bad_to_good: it is 2; allowed is a number from 0 to 1"),
        ("down: {loss: {good_to_bad: 0.1, bad_to_good: 0}}", "down.loss: bad_to_good is 0; allowed is more"),
        ("down: {loss: yes}", "down.loss: it is True; allowed is a number from 0 to 1, or a mapping"),
        ("down: {delay: 5}", "down.delay: there is no such key; allowed are rate_kbps, delay_ms, jitter_ms,"),
        ("down: 7", "down: it is 7; allowed is a mapping"),
        ("colour: red", "colour: there is no such key; allowed are name, title, down, up, steps, reorder"),
        ("reorder: 5", "reorder: it is 5; allowed is true or false"),
        ("steps: [{at_s: 0, up_kbps: 50}]", "steps.0.at_s: it is 0; allowed is seconds, above 0"),
        ("steps: [{at_s: 5}]", "steps.0: neither down_kbps nor up_kbps is given"),
        ("steps: [{at_s: 5, up_kbps: 1}]", "steps.0.up_kbps: it is 1; allowed is whole kbit/s"),
        (
            "steps: [{at_s: 5, up_kbps: 50}, {at_s: 5, up_kbps: 60}]",
            "steps have at_s [5.0, 5.0]; allowed are times that rise",
        ),
    ],
)
def test_a_mistake_is_named_with_what_was_given_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(UnusableProfile) as refused:
        parse_profile(f"name: mine\ntitle: mine\n{text}\n", source="mine.yaml")
    assert message in str(refused.value)
    assert "mine.yaml" in str(refused.value)


def test_all_mistakes_are_shown_at_once() -> None:
    with pytest.raises(UnusableProfile) as refused:
        parse_profile("name: Mine\nup: {delay_ms: -1}", source="mine.yaml")
    for message in ("name: it is 'Mine'; allowed is small letters", "title: it is missing", "up.delay_ms"):
        assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "is ['a']; allowed is a mapping"),
        ("a: [", "is no YAML"),
        ("", "is None; allowed is a mapping"),
    ],
)
def test_a_file_that_is_no_profile_at_all_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnusableProfile) as refused:
        parse_profile(text, source="mine.yaml")
    assert message in str(refused.value)


def test_an_unknown_name_is_answered_with_those_near_it_and_all_others() -> None:
    with pytest.raises(
        UnusableProfile, match=r"no network profile '3g-slo'; near it: 3g-slow.*wifi-congested"
    ):
        load_profile("3g-slo")


def test_a_file_that_cannot_be_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnusableProfile, match="cannot be read"):
        load_profile(str(path))


def test_the_standard_error_of_independent_loss_is_the_binomial_one() -> None:
    assert Loss(lost_in_good=0.1).standard_error(900) == pytest.approx((0.1 * 0.9 / 900) ** 0.5)


def test_bursts_make_the_measured_ratio_less_certain() -> None:
    bursts = Loss(good_to_bad=0.25 * 0.1 / 0.9, bad_to_good=0.25)
    assert bursts.ratio == pytest.approx(0.1)
    # λ = 1 - p - r = 0.7222: the variance is (1 + λ)/(1 - λ) = 6.2 times the binomial one.
    assert bursts.standard_error(900) == pytest.approx((0.1 * 0.9 / 900 * 6.2) ** 0.5)
