"""The open loop against a real HTTP server in the same event loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from loadtest.api_load.tally import api_result
from tests.unit.loadtest.api_load.token_server import (
    answers_of,
    good_answer,
    token,
    token_server,
)


async def test_each_request_asks_for_a_new_viewer_at_its_time() -> None:
    async with token_server() as server:
        answers = await answers_of(server.config(per_s=50, duration_s=1))
    assert len(answers) == 50
    assert sorted(answer.due_s for answer in answers) == pytest.approx([n / 50 for n in range(50)])
    assert {answer.error for answer in answers} == {""}
    assert len({body["participant_identity"] for body in server.bodies}) == 50
    assert {body["role"] for body in server.bodies} == {"viewer"}


async def test_a_server_that_stalls_shows_in_the_latency_of_all_that_was_due_meanwhile() -> None:
    """Coordinated omission: measured from the sending, or in a closed loop, a few of 100 would be slow."""
    async with token_server() as server:
        first: list[float] = []

        async def stall() -> None:  # from 0.5 s to 1.5 s after the first request nothing is answered
            first.append(time.monotonic())
            now = time.monotonic() - first[0]
            if 0.5 <= now < 1.5:
                await asyncio.sleep(1.5 - now)

        server.before_answer = stall
        answers = await answers_of(server.config(per_s=50, duration_s=2, connections=2))
    result = api_result(answers, offered_s=2)
    assert result.requests == 100
    assert result.latency_ms is not None
    assert result.latency_ms.p99 > 900
    # Half of all were due in the stall, evenly spread over it, and only two could be sent.
    assert sum(answer.latency_ms > 250 for answer in answers) >= 30
    assert not result.errors


async def test_waiting_for_a_connection_is_latency_and_no_time_of_the_server() -> None:
    """One connection and 50 ms for each answer: 20 a second get through, 40 a second are due."""
    async with token_server() as server:
        server.before_answer = lambda: asyncio.sleep(0.05)
        answers = await answers_of(server.config(per_s=40, duration_s=1, connections=1))
    result = api_result(answers, offered_s=1)
    assert result.requests == 40
    assert result.service_ms is not None
    assert result.latency_ms is not None
    assert result.latency_ms.p95 > 700
    assert result.service_ms.p95 < result.latency_ms.p95 / 2
    assert result.achieved_per_s < 25
    assert max(answer.waited_ms for answer in answers) > 700


async def test_a_timeout_is_an_error_that_counts_with_its_full_time() -> None:
    async with token_server() as server:
        server.before_answer = lambda: asyncio.sleep(30)
        answers = await answers_of(server.config(per_s=10, duration_s=0.5, timeout_s=0.4))
    result = api_result(answers, offered_s=0.5)
    assert result.errors == {"timeout": 5}
    assert result.achieved_per_s == 0
    assert result.latency_ms is not None
    assert result.latency_ms.minimum >= 400
    assert result.latency_ms.maximum < 30_000 / 2, "it did not wait for the answer"


async def test_a_timeout_counts_from_when_the_request_was_due() -> None:
    """The only connection is held: who waits for it is out of time, though never sent."""
    async with token_server() as server:
        server.before_answer = lambda: asyncio.sleep(30)
        answers = await answers_of(server.config(per_s=10, duration_s=0.3, timeout_s=0.5, connections=1))
    assert [answer.error for answer in answers] == ["timeout"] * 3
    assert all(500 <= answer.latency_ms < 30_000 / 2 for answer in answers)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda _: web.Response(status=429, headers={"Retry-After": "10"}), "HTTP 429, with Retry-After"),
        (lambda _: web.Response(status=429), "HTTP 429"),
        (lambda _: web.Response(status=200), "HTTP 200"),
        (lambda _: web.Response(status=201, text="<html>"), "wrong answer: no token in it"),
        (lambda _: web.Response(status=201, text="{}"), "wrong answer: no token in it"),
        (lambda _: web.Response(status=201, text="[]"), "wrong answer: no token in it"),
        (lambda _: good_answer("no.jwt"), "wrong answer: DecodeError"),
        (lambda _: good_answer(token("someone-else")), "wrong answer: another identity"),
        (
            lambda body: good_answer(token(body["participant_identity"], room="another")),
            "wrong answer: another room",
        ),
        (
            lambda body: good_answer(token(body["participant_identity"], join=False)),
            "wrong answer: another room",
        ),
        (
            lambda body: good_answer(token(body["participant_identity"], publish=True)),
            "wrong answer: not a viewer's grants",
        ),
        (
            lambda body: good_answer(token(body["participant_identity"], subscribe=False)),
            "wrong answer: not a viewer's grants",
        ),
        (
            lambda body: good_answer(token(body["participant_identity"], secret="x" * 40)),
            "wrong answer: InvalidSignatureError",
        ),
    ],
)
async def test_other_answers_are_counted_by_their_kind(
    answer: Callable[[dict[str, Any]], web.Response], kind: str
) -> None:
    async with token_server() as server:
        server.answer = answer
        answers = await answers_of(server.config(per_s=20, duration_s=0.1))
    assert [each.error for each in answers] == [kind] * 2
    result = api_result(answers, offered_s=0.1)
    assert result.errors == {kind: 2}
    assert result.latency_ms is None
    assert result.achieved_per_s == 0


async def test_a_server_that_is_not_there_refuses_each_connection() -> None:
    async with token_server() as server:
        config = server.config(per_s=20, duration_s=0.2)
    answers = await answers_of(config)
    assert [answer.error for answer in answers] == ["ECONNREFUSED"] * 4


async def test_a_server_that_hangs_up_is_counted() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0, family=socket.AF_INET)
    async with listening, token_server() as server:
        server.port = listening.sockets[0].getsockname()[1]
        answers = await answers_of(server.config(per_s=20, duration_s=0.2))
    assert {answer.error for answer in answers} <= {"ServerDisconnectedError", "ECONNRESET"}
    assert len(answers) == 4


async def test_a_generator_that_is_held_up_says_so_and_starts_all_that_was_due() -> None:
    async with token_server() as server:

        async def hold_up() -> None:
            await asyncio.sleep(0.7)
            time.sleep(0.5)  # noqa: ASYNC251 - what is tested: the loop stands still, past the end

        holding = asyncio.create_task(hold_up())
        answers = await answers_of(server.config(per_s=50, duration_s=1))
        await holding
    result = api_result(answers, offered_s=1)
    assert result.requests == 50
    assert result.late_ms is not None
    assert result.late_ms.maximum > 300
    assert result.late_ms.minimum < result.late_ms.maximum / 2


async def test_told_to_stop_it_gives_up_what_is_under_way() -> None:
    stop = asyncio.Event()
    async with token_server() as server:
        answered = 0

        async def five_then_none() -> None:
            nonlocal answered
            answered += 1
            if answered > 5:
                stop.set()
                await asyncio.sleep(60)

        server.before_answer = five_then_none
        began = time.monotonic()
        answers = await answers_of(server.config(per_s=20, duration_s=30), stop)
    assert time.monotonic() - began < 30 / 2, "it did not go on to its end"
    assert [answer.error for answer in answers] == [""] * 5
