"""The kinds of columns that all tables share."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import DateTime, Dialect, Enum, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. SQLite, which has no such type, keeps it as text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(27) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone was given: {value.isoformat()}; allowed: aware times")
        moment = value.astimezone(UTC)
        # One width for all, so that the order of the texts is the order of the times. Not strftime("%Y"):
        # glibc writes the year 999 with three digits.
        return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S.%f}Z" if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]


class Base(DeclarativeBase):
    """All tables. Constraints have names, so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def one_of(kinds: type[StrEnum], name: str) -> Enum:
    """A text column that holds one of `kinds`, which the database checks. `name` names the check."""
    return Enum(
        kinds,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


def new_id() -> str:
    """An id for a new row: a random UUID as text."""
    return str(uuid.uuid4())


Id = Annotated[str, mapped_column(String(36), primary_key=True, default=new_id)]
# Ids of users, spaces and experiences are the host application's.
HostId = Annotated[str, mapped_column(String(128))]
MaybeHostId = Annotated[str | None, mapped_column(String(128))]
Time = Annotated[datetime, mapped_column(UtcDateTime)]
MaybeTime = Annotated[datetime | None, mapped_column(UtcDateTime)]
Json = Annotated[str, mapped_column(Text)]
