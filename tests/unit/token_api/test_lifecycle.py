"""The life of a stream, as a table of its own: what may follow what, for every action and every status."""

from __future__ import annotations

import itertools

import pytest

from token_api.domain.lifecycle import ON_AIR, Action, InvalidTransition, action_to, after
from token_api.domain.vocabulary import StreamStatus

DRAFT, LIVE, PAUSED, ENDED, FAILED = StreamStatus
GO_LIVE, PAUSE, RESUME, END = Action

# What is not here is refused.
ALLOWED = {
    (GO_LIVE, DRAFT): LIVE,
    (GO_LIVE, FAILED): LIVE,
    (GO_LIVE, LIVE): LIVE,
    (PAUSE, LIVE): PAUSED,
    (PAUSE, PAUSED): PAUSED,
    (RESUME, PAUSED): LIVE,
    (RESUME, LIVE): LIVE,
    (END, LIVE): ENDED,
    (END, PAUSED): ENDED,
    (END, ENDED): ENDED,
}


@pytest.mark.parametrize(("action", "status"), [*itertools.product(Action, StreamStatus)])
def test_every_action_in_every_status(action: Action, status: StreamStatus) -> None:
    wanted = ALLOWED.get((action, status))
    if wanted is not None:
        assert after(action, status) is wanted
        return
    with pytest.raises(InvalidTransition) as refused:
        after(action, status)
    assert (refused.value.action, refused.value.status) == (action, status)


def test_a_refusal_says_what_was_asked_and_what_is_allowed() -> None:
    with pytest.raises(InvalidTransition, match=r"^end: the stream is draft; allowed: live, paused$"):
        after(END, DRAFT)


def test_what_has_ended_is_over() -> None:
    """No sequence of actions leads out of it."""
    for action in Action:
        if action is not END:
            with pytest.raises(InvalidTransition):
                after(action, ENDED)


@pytest.mark.parametrize(("wanted", "status"), [*itertools.product(StreamStatus, StreamStatus)])
def test_a_wish_for_a_status_is_the_action_that_leads_to_it(
    wanted: StreamStatus, status: StreamStatus
) -> None:
    action = action_to(wanted, status)
    if wanted in {DRAFT, FAILED}:
        assert action is None
        return
    assert action is not None
    leads = [one for one in Action if ALLOWED.get((one, status)) is wanted and wanted is not status]
    # Where an action leads from here to there, it is that one; elsewhere the one chosen is refused.
    if leads:
        assert [action] == leads
    elif wanted is not status:
        with pytest.raises(InvalidTransition):
            after(action, status)


def test_a_stream_has_a_room_while_it_is_live_or_paused() -> None:
    assert frozenset({LIVE, PAUSED}) == ON_AIR
