"""Pages of a list that grows while it is read: by the key of the last item seen, not by its number."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
MAX_CURSOR_LENGTH = 256


class BadCursor(ValueError):
    """The text is no cursor that this service gave."""


@dataclass(frozen=True)
class Cursor:
    """The place of an item in a list that is sorted by time and then id."""

    at: datetime
    id: str

    def __str__(self) -> str:
        micros = (self.at - _EPOCH) // _MICROSECOND
        packed = json.dumps([micros, self.id], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


Column: TypeAlias = ColumnElement[Any] | InstrumentedAttribute[Any]


def before(cursor: Cursor, at: Column, item_id: Column) -> ColumnElement[bool]:
    """Whether an item comes after `cursor` in a list from the newest to the oldest item.

    The first condition follows from the second one. With it, the database finds the place by an index.
    """
    return and_(at <= cursor.at, or_(at < cursor.at, item_id < cursor.id))


def after(cursor: Cursor, at: Column, item_id: Column) -> ColumnElement[bool]:
    """As `before`, in a list from the oldest to the newest item."""
    return and_(at >= cursor.at, or_(at > cursor.at, item_id > cursor.id))


def read_cursor(text: str) -> Cursor:
    """The cursor that `text` is.

    Raises:
        BadCursor: it is none.
    """
    try:
        if len(text) > MAX_CURSOR_LENGTH:
            raise BadCursor(text[:20])
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        micros, item = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(micros, int) or isinstance(micros, bool) or not isinstance(item, str):
            raise BadCursor(text)
        at = _EPOCH + micros * _MICROSECOND
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
        raise BadCursor(text) from error
    if "\x00" in item or len(item) > 130 or not item.isascii():
        raise BadCursor(text)
    return Cursor(at, item)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items, and where the next ones begin; `next_cursor` is None at the end."""

    items: Sequence[T]
    next_cursor: str | None


def page_of(found: Sequence[T], limit: int, place: Callable[[T], Cursor]) -> Page[T]:
    """A page of `limit` from `found`, of which one more than `limit` was asked for."""
    items = found[:limit]
    more = len(found) > limit
    return Page(items, str(place(items[-1])) if more else None)
