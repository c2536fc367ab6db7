"""How long rows are kept: every table has a rule, and each rule removes what is over and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api
from token_api.database.columns import Base
from token_api.database.tables import (
    AuditEntry,
    Ban,
    IdempotencyKey,
    Outbox,
    TelemetrySender,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookInbox,
)
from token_api.domain.vocabulary import InboxState
from token_api.use_cases import retention
from token_api.use_cases.retention import RULES, GoesWith, Kept, Pruned

Made = Callable[[datetime, str], list[Base]]


def test_every_table_has_a_rule() -> None:
    assert {mapper.class_ for mapper in Base.registry.mappers} == set(RULES)


@pytest.mark.parametrize("table", RULES, ids=lambda table: table.__tablename__)
def test_the_rule_of_a_table_is_true(table: type[Base]) -> None:
    for rule in RULES[table]:
        match rule:
            case GoesWith():
                deleting = {
                    key.column.table.name for key in table.__table__.foreign_keys if key.ondelete == "CASCADE"
                }
                assert rule.parent.__tablename__ in deleting, (
                    "the database does not remove it with its parent"
                )
            case Kept():
                assert rule.why
            case Pruned():
                assert rule.after >= timedelta(hours=1)


def _inbox(state: InboxState) -> Made:
    def made(at: datetime, key: str) -> list[Base]:
        row = WebhookInbox(
            event_id=key, event_type="room_started", body="{}", received_at=at, next_at=at, state=state
        )
        return [row]

    return made


def _ban(lifted: bool) -> Made:
    def made(at: datetime, key: str) -> list[Base]:
        end = {"lifted_at": at} if lifted else {"until": at}
        return [Ban(space_id="space", user_id=key, banned_by="creator", created_at=at, **end)]

    return made


def _outbox(fanned_out: bool) -> Made:
    def made(at: datetime, key: str) -> list[Base]:
        return [
            Outbox(
                id=key,
                event_type="stream.live",
                payload="{}",
                created_at=at,
                fanned_out_at=at if fanned_out else None,
            )
        ]

    return made


@dataclass(frozen=True)
class Case:
    """Rows of a table, and the days after which they are removed."""

    column: Any
    made: Made
    days: float


CASES = {
    "audit": Case(
        AuditEntry.actor, lambda at, key: [AuditEntry(at=at, actor=key, action="a", details="{}")], 365
    ),
    "ban-over": Case(Ban.user_id, _ban(lifted=False), 365),
    "ban-lifted": Case(Ban.user_id, _ban(lifted=True), 365),
    "inbox-done": Case(WebhookInbox.event_id, _inbox(InboxState.DONE), 1 / 24),
    "inbox-ignored": Case(WebhookInbox.event_id, _inbox(InboxState.IGNORED), 1 / 24),
    "inbox-failed": Case(WebhookInbox.event_id, _inbox(InboxState.FAILED), 30),
    "outbox-sent": Case(Outbox.id, _outbox(fanned_out=True), 30),
    "idempotency": Case(
        IdempotencyKey.key,
        lambda at, key: [IdempotencyKey(caller="service", key=key, request_hash="", created_at=at)],
        1,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_rows_are_removed_after_their_time_and_not_before(api: Api, case: Case) -> None:
    now, limit = api.clock.now(), timedelta(days=case.days)
    async with api.services.database.begin() as transaction:
        for key, age in (("old", limit + timedelta(seconds=1)), ("young", limit - timedelta(seconds=1))):
            transaction.add_all(case.made(now - age, key))
    await retention.prune(api.services)
    assert await api.rows(select(case.column).where(case.column.in_(["old", "young"]))) == ["young"]


async def test_a_ban_without_an_end_is_kept_for_ever(api: Api) -> None:
    stream_id = await api.stream()
    await api.call("POST", f"/streams/{stream_id}/bans", status=201, json={"user_id": "viewer"})
    api.clock.advance(days=4000)
    await retention.prune(api.services)
    assert len((await api.call("GET", f"/streams/{stream_id}/bans"))["items"]) == 1


async def test_more_rows_than_one_transaction_removes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 3)
    stream_id = await api.live_stream()
    senders = [f"user-{number}" for number in range(8)]
    for sender in senders:
        await api.grant(sender, "stream", stream_id)

    async def tell(sender: str) -> None:
        body = {"samples": [{"rtt_ms": 1}]}
        await api.call("POST", f"/streams/{stream_id}/telemetry", api.user(sender), 204, json=body)

    for sender in senders[:7]:
        await tell(sender)
    api.clock.advance(days=1, seconds=1)
    await tell(senders[7])
    await retention.prune(api.services)
    assert await api.rows(select(TelemetrySender.user_id)) == [senders[7]]


@pytest.mark.parametrize(
    ("column", "made"),
    [
        pytest.param(WebhookInbox.event_id, _inbox(InboxState.WAITING), id="inbox"),
        pytest.param(Outbox.id, _outbox(fanned_out=False), id="outbox"),
    ],
)
async def test_what_still_waits_is_never_over(api: Api, column: Any, made: Made) -> None:
    table, now = column.class_, api.clock.now()
    # In one transaction, so that no worker processes the row meanwhile.
    async with api.services.database.begin() as transaction:
        transaction.add_all(made(now - timedelta(days=4000), "old"))
        await transaction.flush()
        for rule in RULES[table]:
            assert isinstance(rule, Pruned)
            over = (await transaction.scalars(select(column).where(rule.is_over(now)))).all()
            assert over == []
        await transaction.rollback()


async def test_an_event_goes_with_its_deliveries(api: Api) -> None:
    now = api.clock.now()
    async with api.services.database.begin() as transaction:
        endpoint = WebhookEndpoint(url="https://host.test", secret="s", created_at=now, updated_at=now)
        transaction.add(endpoint)
        await transaction.flush()
        transaction.add_all(_outbox(fanned_out=True)(now, "sent"))
        await transaction.flush()
        transaction.add(
            WebhookDelivery(
                outbox_id="sent",
                endpoint_id=endpoint.id,
                state="delivered",
                next_at=now,
                created_at=now,
            )
        )
    api.clock.advance(days=31)
    await retention.prune(api.services)
    assert await api.rows(select(WebhookDelivery.id)) == await api.rows(select(Outbox.id)) == []
