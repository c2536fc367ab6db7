"""Participants' names as text that can be drawn: cleaned, and cut where a reader sees a character end.

A name comes from a token and may hold anything. A character is what Unicode calls an extended grapheme
cluster (UAX #29): a letter with its accents, a joined emoji, a flag.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import islice

import regex

ELLIPSIS = "…"
# No label has room for more.
_LONGEST = 120
# Code points that are looked at for each character; a family emoji has 7.
_POINTS = 16
_CHARACTER = regex.compile(r"\X")
# Joiners shape Persian, Indic scripts and emoji; tags spell the flags of regions, as Scotland's.
_JOINERS = frozenset("\u200c\u200d") | frozenset(map(chr, range(0xE0020, 0xE0080)))
_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co"})
# Scripts with capitals, whose readers know initials. Elsewhere one character stands for the name.
_CAPITALISED = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Armenian}]")
_LETTER = regex.compile(r"\p{L}|\p{N}")


def characters(text: str) -> list[str]:
    """The extended grapheme clusters of a text."""
    return _CHARACTER.findall(text)


@lru_cache(maxsize=256)
def clean(name: str) -> str:
    """A name on one line, in NFC, without what cannot be seen; at most 120 characters.

    Control characters and private ones are removed, and so are all marks that change the direction of text:
    with these, a name could reorder the text around it.
    """
    normal = unicodedata.normalize("NFC", name[: _LONGEST * _POINTS])
    spaced = (" " if char in "\t\n\r" else char for char in normal)
    kept = "".join(char for char in spaced if char in _JOINERS or unicodedata.category(char) not in _REMOVED)
    line = " ".join(kept.split())
    shortened = "".join(match.group() for match in islice(_CHARACTER.finditer(line), _LONGEST))
    return shortened if any(char not in _JOINERS for char in shortened) else ""


def initials(name: str) -> str:
    """What stands in an avatar: one or two characters of a cleaned name, `?` if it has none."""
    starts = [characters(word)[0] for word in name.split()]
    letters = [start for start in starts if _LETTER.match(start)]
    if not letters:
        return starts[0] if starts else "?"
    first, last = letters[0], letters[-1]
    if not _CAPITALISED.match(first):
        return first
    return (first + last if len(letters) > 1 and _CAPITALISED.match(last) else first).upper()


def cut(text: str, fits: Callable[[str], bool]) -> str:
    """The text if it fits, else the longest beginning that fits with an ellipsis; empty if none does."""
    if fits(text):
        return text
    parts = characters(text)
    shortest, longest = 0, len(parts)
    while longest - shortest > 1:
        middle = (shortest + longest) // 2
        if fits(_with_ellipsis(parts[:middle])):
            shortest = middle
        else:
            longest = middle
    candidate = _with_ellipsis(parts[:shortest])
    return candidate if fits(candidate) else ""


def _with_ellipsis(parts: list[str]) -> str:
    return "".join(parts).rstrip() + ELLIPSIS
