"""Which step comes next, and how long all steps take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.steps import WORKERS, Plan, Resource, Step


def _step(name: str, *needs: str, resource: Resource = Resource.OTHER) -> Step:
    return Step(name, lambda: None, needs, resource)


def _compile(name: str, *needs: str) -> Step:
    return _step(name, *needs, resource=Resource.COMPILER)


def _name(step: Step | None) -> str | None:
    return step.name if step else None


def test_a_step_waits_for_those_that_it_needs() -> None:
    plan = Plan([_step("a"), _step("b", "a"), _step("c", "a", "b")])
    assert _name(plan.next([], [])) == "a"
    assert plan.next([], ["a"]) is None
    assert _name(plan.next(["a"], [])) == "b"
    assert plan.next(["a"], ["b"]) is None
    assert _name(plan.next(["a", "b"], [])) == "c"
    assert plan.next(["a", "b", "c"], []) is None


def test_two_compilations_never_run_at_once_and_other_steps_run_beside_one() -> None:
    plan = Plan([_compile("a"), _compile("b"), _step("c")], {"a": 9, "b": 5, "c": 1})
    assert _name(plan.next([], [])) == "a"
    assert _name(plan.next([], ["a"])) == "c"
    assert plan.next([], ["a", "c"]) is None
    assert _name(plan.next(["a"], ["c"])) == "b"


def test_of_several_the_one_with_the_longest_way_behind_it_is_first() -> None:
    steps = [_step("short"), _step("long"), _step("start"), _step("then", "start")]
    plan = Plan(steps, {"short": 10, "long": 20, "start": 5, "then": 30})
    assert _name(plan.next([], [])) == "start"
    assert _name(plan.next([], ["start"])) == "long"


def test_equal_ones_come_in_the_order_of_the_list() -> None:
    plan = Plan([_step("b"), _step("a"), _step("c")], {"a": 1, "b": 1, "c": 1})
    assert _name(plan.next([], [])) == "b"
    assert _name(plan.next([], ["b"])) == "a"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([_step("a"), _step("a")], "two steps are named 'a'"),
        ([_step("a", "b")], r"step 'a' needs \['b'\]"),
        ([_step("a", "b"), _step("b", "a")], r"step 'a' needs \['b'\]"),
        ([_step("a", "a")], r"step 'a' needs \['a'\]"),
    ],
)
def test_a_plan_that_could_not_end_is_refused(steps: list[Step], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(steps)


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ([], 0),
        ([_step("a"), _step("b")], 20),  # in parallel
        ([_step("a"), _step("b", "a")], 30),
        ([_compile("a"), _compile("b")], 30),  # one after the other
        ([_compile("a"), _step("b")], 20),
        ([_step("a"), _step("c"), _step("d"), _step("b")], 20),  # b first, d once a or c is done
    ],
)
def test_the_whole_takes_as_long_as_its_steps_beside_each_other(steps: list[Step], seconds: float) -> None:
    assert Plan(steps, {"a": 10, "b": 20, "c": 10, "d": 10}).remaining_seconds() == seconds


def test_what_is_done_and_what_has_run_for_a_while_no_longer_counts() -> None:
    plan = Plan([_step("a"), _step("b", "a")], {"a": 10, "b": 20})
    assert plan.remaining_seconds([], {"a": 4}) == 26
    assert plan.remaining_seconds([], {"a": 60}) == 20  # longer than expected
    assert plan.remaining_seconds(["a"], {"b": 5}) == 15


def test_a_step_is_timed_under_its_key_and_one_that_nobody_timed_has_no_expectation() -> None:
    known = Step("build pulumi v3", lambda: None, timed_as="build pulumi")
    unknown = _step("build helm")
    plan = Plan([known, unknown], {"build pulumi": 60})
    assert (plan.expected(known), plan.expected(unknown)) == (60, None)


@st.composite
def _plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(0, 12))
    steps = []
    for number in range(count):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        resource = draw(st.sampled_from(Resource))
        steps.append(_step(str(number), *map(str, sorted(needs)), resource=resource))
    seconds = draw(st.lists(st.integers(0, 50), min_size=count, max_size=count))
    return Plan(steps, {step.name: taken for step, taken in zip(steps, seconds, strict=True)})


@given(_plans(), st.randoms())
def test_every_plan_ends_with_all_steps_done_in_order_and_within_the_limits(
    plan: Plan, random: object
) -> None:
    done: list[str] = []
    running: list[str] = []
    by_name = {step.name: step for step in plan.steps}
    while True:
        while (step := plan.next(done, running)) is not None:
            assert set(step.needs) <= set(done)
            running.append(step.name)
        assert len(running) <= WORKERS
        assert sum(by_name[name].resource is Resource.COMPILER for name in running) <= 1
        if not running:
            break
        done.append(running.pop(random.randrange(len(running))))  # type: ignore[attr-defined]
    assert sorted(done) == sorted(by_name)


@given(_plans())
def test_the_estimate_lies_between_the_longest_chain_and_the_sum(plan: Plan) -> None:
    total = sum(plan.expected(step) or 0 for step in plan.steps)
    compiling = sum(plan.expected(s) or 0 for s in plan.steps if s.resource is Resource.COMPILER)
    assert compiling <= plan.remaining_seconds() <= total
