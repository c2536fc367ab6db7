"""What people write in a chat, as it is kept: plain text on one line, bounded, that shows as it reads.

The text is never HTML: nothing in it is escaped or removed for the sake of a page, which must insert it
by `textContent`.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 500
# As columns of names.
MAX_NAME_LENGTH = 128
# Of UTF-8. Less than four bytes for each of the characters: scripts with three fit, a wall of emoji does not.
MAX_BYTES = 1500

# Ends of lines and tabs, in whatever spelling, end a word and no more.
_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
# Control characters; embeddings, overrides and isolates of direction, which make a text read otherwise than
# it was written; byte order marks and interlinear annotations, which nobody sees. Marks of direction
# (U+200E, U+200F, U+061C) stay: Arabic and Hebrew need them, and they turn round nothing around them.
_INVISIBLE = re.compile(r"[\x00-\x1b\x7f-\x9f\u202a-\u202e\u2066-\u2069\u206a-\u206f\ufeff\ufff9-\ufffb]")


class BadText(ValueError):
    """The text cannot be kept; the message says why, and what is allowed."""


def clean(text: str, max_length: int = MAX_LENGTH) -> str:
    """`text` without what cannot be seen, in Unicode's composed form.

    What is pasted often carries marks that its writer never saw: these are taken out, not refused.

    Raises:
        BadText: half a character; nothing to see; more than `max_length` characters or MAX_BYTES.
    """
    shown = shown_text(text)
    if not any(unicodedata.category(character)[0] in "LNPS" for character in shown):
        raise BadText("there is nothing in it to see")
    if len(shown) > max_length:
        raise BadText(f"at most {max_length} characters are allowed; it has {len(shown)}")
    if len(shown.encode()) > MAX_BYTES:
        raise BadText(f"at most {MAX_BYTES} bytes of UTF-8 are allowed; it has {len(shown.encode())}")
    return shown


def shown_name(name: str) -> str:
    """`shown_text` of a name, with at most MAX_NAME_LENGTH characters. Composing may make a text longer.

    Raises:
        BadText: it holds half a character.
    """
    return shown_text(name)[:MAX_NAME_LENGTH].rstrip()


def shown_text(text: str) -> str:
    """`text` without what cannot be seen, and without white space around it.

    Raises:
        BadText: it holds half a character.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadText("it holds half a character (a lone surrogate)") from error
    seen = _INVISIBLE.sub("", _BREAKS.sub(" ", text))
    return unicodedata.normalize("NFC", seen).strip()
