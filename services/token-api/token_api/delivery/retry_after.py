"""What a receiver says by Retry-After (RFC 9110, 10.2.3): that it wants nothing for some time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

# Those with which the header means that the sender is to wait.
STATUSES = frozenset({429, 503})
# The longest pause of our own schedule: a receiver that names more may be wrong, and is asked again.
LONGEST = timedelta(hours=24)
_SECONDS = re.compile(r"[0-9]{1,10}")


def pause_wanted(status: int | None, header: str, now: datetime) -> timedelta | None:
    """The pause that an answer with `status` and the header's text asks for, at most LONGEST.

    None where it asks for none: another status, no header, one that is neither seconds nor a date, or a
    moment that is not after `now`.
    """
    if status not in STATUSES:
        return None
    pause = _parsed(header.strip(), now)
    return min(pause, LONGEST) if pause is not None and pause > timedelta(0) else None


def _parsed(text: str, now: datetime) -> timedelta | None:
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=int(text))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    # An HTTP date is in GMT, and has to say so.
    return moment - now if moment.tzinfo is not None else None
