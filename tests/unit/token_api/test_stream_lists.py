"""The list of streams that a user may see: the same as when each stream is judged by itself, in pages."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from tests.unit.token_api.api import START, Api
from token_api.callers import Caller, ServiceCaller, UserCaller
from token_api.database.columns import Base, new_id
from token_api.database.tables import AccessGrant, Stream, TeamMember
from token_api.domain.paging import Cursor, read_cursor
from token_api.domain.vocabulary import GrantScope, StreamKind, StreamStatus, TeamRole
from token_api.use_cases import streams
from token_api.use_cases.streams import Filters

_USERS = ("u0", "u1", "u2", "nobody")
_SPACES = ("s0", "s1", "s2", "s3", "s4")
_EXPERIENCES = (None, None, "e0", "e1", "e2")


@dataclass(frozen=True)
class Platform:
    """Streams, and by what users see some of them."""

    streams: list[Stream]
    team: set[tuple[str, str]]
    grants: list[AccessGrant]

    @property
    def rows(self) -> list[Base]:
        members = [
            TeamMember(space_id=space, user_id=user, role=TeamRole.MODERATOR, created_at=START)
            for space, user in self.team
        ]
        return [*self.streams, *self.grants, *members]

    def seen_by(self, user_id: str | None, filters: Filters) -> list[str]:
        """The ids of the streams that a user sees, newest first; of all that meet `filters` for None."""
        found = [
            stream
            for stream in self.streams
            if (user_id is None or self._sees(user_id, stream)) and _meets(stream, filters)
        ]
        found.sort(key=lambda stream: (stream.created_at, stream.id), reverse=True)
        return [stream.id for stream in found]

    def _sees(self, user_id: str, stream: Stream) -> bool:
        opened = {
            (GrantScope.STREAM, stream.id),
            (GrantScope.SPACE, stream.space_id),
            (GrantScope.EXPERIENCE, stream.experience_id),
        }
        granted = {(grant.scope, grant.scope_id) for grant in self.grants if grant.user_id == user_id}
        is_staff = stream.owner_id == user_id or (stream.space_id, user_id) in self.team
        return is_staff or bool(opened & granted)


def _meets(stream: Stream, filters: Filters) -> bool:
    return all(value is None or getattr(stream, name) == value for name, value in vars(filters).items())


def platform(random_of: random.Random) -> Platform:
    made = [
        Stream(
            id=new_id(),
            kind=random_of.choice(list(StreamKind)),
            title="A stream",
            # Those that are on air without a session are healed meanwhile.
            status=random_of.choice([StreamStatus.DRAFT, StreamStatus.ENDED]),
            owner_id=random_of.choice(["u0", "u1", "another"]),
            space_id=random_of.choice(_SPACES),
            experience_id=random_of.choice(_EXPERIENCES),
            # Some at the same moment.
            created_at=START + timedelta(seconds=random_of.randrange(20)),
            updated_at=START,
        )
        for _ in range(60)
    ]
    scopes = {
        GrantScope.STREAM: [stream.id for stream in made],
        GrantScope.SPACE: _SPACES,
        GrantScope.EXPERIENCE: ("e0", "e1", "e2"),
    }
    grants = [_grant(random_of, scope, ids) for scope, ids in scopes.items() for _ in range(4)]
    team = {(random_of.choice(_SPACES), random_of.choice(["u0", "u2"])) for _ in range(3)}
    return Platform(made, team, grants)


def _grant(random_of: random.Random, scope: GrantScope, ids: Collection[str]) -> AccessGrant:
    user_id = random_of.choice(["u0", "u1", "u2"])
    return AccessGrant(user_id=user_id, scope=scope, scope_id=random_of.choice(list(ids)), created_at=START)


def filters_of(given: Platform) -> list[Filters]:
    some = given.streams[0]
    return [
        Filters(),
        Filters(status=some.status),
        Filters(kind=some.kind, space_id=some.space_id),
        Filters(owner_id="u0"),
        Filters(experience_id="e0"),
        Filters(space_id="none"),
    ]


async def pages(api: Api, caller: Caller, filters: Filters, limit: int) -> list[str]:
    found: list[str] = []
    cursor: Cursor | None = None
    while True:
        async with api.services.database.read() as transaction:
            page = await streams.page(transaction, caller, filters, cursor=cursor, limit=limit, now=START)
        assert len(page.items) == limit or page.next_cursor is None
        found += [item.stream.id for item in page.items]
        if page.next_cursor is None:
            return found
        cursor = read_cursor(page.next_cursor)


async def test_pages_have_what_a_user_sees_once_newest_first(api: Api) -> None:
    random_of = random.Random(7)  # noqa: S311
    given = platform(random_of)
    async with api.services.database.begin() as transaction:
        transaction.add_all(given.rows)
    assert all(given.seen_by(user_id, Filters()) for user_id in _USERS if user_id != "nobody")
    for filters in filters_of(given):
        for user_id in (*_USERS, None):
            caller = ServiceCaller() if user_id is None else UserCaller(user_id)
            wanted = given.seen_by(user_id, filters)
            for limit in (1, 4, 100):
                assert await pages(api, caller, filters, limit) == wanted, (user_id, filters, limit)
