"""Columns of a terminal: how wide foreign text is, where to cut it, and what it must not carry.

Log lines, messages of a database and headers are written by others. What reaches a terminal from here moves
no cursor, hides nothing, reverses nothing and can always be encoded. This room knows no state and no finding.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: Escape sequences that end: colours, cursor movement (CSI), titles and links (OSC), strings (DCS, SOS, PM,
#: APC). One that does not end loses its first two characters only, so that it cannot hide the rest of the
#: line.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]*[0-~]?"
)
_TAB = "    "
#: Characters that join or shape the letters beside them; all other invisible ones are named instead.
_JOINERS = frozenset("\u200c\u200d")
_WIDENS_TO_EMOJI = "\ufe0f"
_MARKS_KEPT = 4
#: Beyond this many characters nothing of a line is looked at.
_LONGEST = 4_000
_ASCII_LEAST, _DELETE = 0x20, 0x7F


def harmless(text: str) -> str:
    """Return one line that a terminal can only print: no controls, no escapes, no reversal, no lone
    surrogates.

    Of text that overwrote itself with carriage returns the last part is kept, as a terminal would have shown
    it. Lines of more than 4,000 characters are cut.
    """
    text = text[:_LONGEST]
    if text.isascii() and text.isprintable():
        return text
    if "\x1b" in text or "\x9b" in text or "\x9d" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        parts = [part for part in text.split("\r") if part.strip()]
        text = parts[-1] if parts else ""
    kept: list[str] = []
    marks = 0
    for character in text:
        if unicodedata.combining(character):
            marks += 1
            if marks > _MARKS_KEPT:
                continue
        else:
            marks = 0
        kept.append(_shown(character))
    return "".join(kept)


def columns(text: str) -> int:
    """Count the columns that a line of harmless text takes; never too few."""
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, ending in an ellipsis where something was left out."""
    if columns(text) <= width:
        return text
    if width <= 1:
        return "…" * max(width, 0)
    used = 0
    for at, character in enumerate(text):
        used += _width(character)
        if used > width - 1:
            return text[:at].rstrip() + "…"
    return text


def wrap(text: str, width: int, *, most: int = 100) -> list[str]:
    """Break text at spaces into at most `most` lines of at most `width` columns; the last one may end cut."""
    width = max(width, 1)
    if columns(text) <= width:
        return [text]
    lines: list[str] = []
    rest = text
    while rest:
        if columns(rest) <= width:
            lines.append(rest)
            break
        if len(lines) == most - 1:
            lines.append(cut(rest, width))
            break
        end = _fitting(rest, width)
        # A space right behind the part that fits is as good a place as one inside it.
        space = rest.rfind(" ", 0, end + 1)
        head = rest[:space] if space > 0 and rest[:space].strip() else rest[:end]
        lines.append(head.rstrip())
        rest = rest[len(head) :].lstrip(" ")
    return lines


def pad(text: str, width: int) -> str:
    """Fill `text` with spaces to `width` columns."""
    return text + " " * (width - columns(text))


def _fitting(text: str, width: int) -> int:
    used = 0
    for at, character in enumerate(text):
        used += _width(character)
        if used > width:
            return max(at, 1)
    return len(text)


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if character == _WIDENS_TO_EMOJI:
        return 1
    if character in _JOINERS or unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    if character == "\t":
        return _TAB
    if character == "\n":
        return " "
    category = unicodedata.category(character)
    if category == "Cc":
        return f"\\x{ord(character):02x}"
    if category == "Cs":
        return "\ufffd"
    if category in {"Zl", "Zp"} or (category == "Cf" and character not in _JOINERS):
        return f"<U+{ord(character):04X}>"
    return character
