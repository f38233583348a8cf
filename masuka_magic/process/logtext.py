"""Turn the bytes of a foreign log into text that can be shown anywhere: no escapes, no control characters.

Pure, linear in the length of the text. Not masked: secrets are another room's matter; but where a line is cut,
no part of a word is left standing, so that no half of a secret escapes the mask.
"""

from __future__ import annotations

import re

#: A word that a cut falls into is dropped up to this length.
WORD = 2048

# Control characters but for the tab; C1; line and paragraph separators; what turns the direction of writing,
# with which text can be made to look like other text (Unicode TR 36).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# The same in UTF-8, for a quick look at a megabyte: a table for the ASCII ones, what the others begin with.
_CONTROL_BYTES = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\n")
_MAYBE_CONTROL = (b"\xc2", b"\xd8\x9c", b"\xe2\x80", b"\xe2\x81")
# ECMA-48: control sequences (colours, cursor), strings with their end (titles, links), and the short ones.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    # No introducer stands in a string: what follows one is looked at once, or a row of them would cost its square.
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]{0,4096}+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*+[0-~]"
)
# What a hole in a file reads as. A few of them may be the text's own.
_HOLE = re.compile(r"\x00{8,}")


def decoded(text: bytes) -> str:
    r"""Decode UTF-8; a byte that is none is shown as `\xNN`."""
    return text.decode("utf-8", "backslashreplace")


def plain_lines(text: bytes) -> list[str]:
    """Split a text at its newlines, at nothing else, and make each line harmless."""
    lines = decoded(text).split("\n")
    if len(text.translate(None, _CONTROL_BYTES)) == len(text) and not any(
        map(text.__contains__, _MAYBE_CONTROL)
    ):
        return lines
    return [plain(line) for line in lines]


def plain(line: str) -> str:
    """Make one line harmless: what a terminal would show at last, with control characters spelt out.

    A progress bar, redrawn with carriage returns, is its last state; colours and cursor moves are dropped.
    """
    if _CONTROL.search(line) is None:
        return line
    line = _ESCAPE.sub("", _HOLE.sub("", line)).rstrip("\r\n")
    if "\r" in line:
        line = next((state for state in reversed(line.split("\r")) if state.strip()), "")
    return _CONTROL.sub(_spelt, line)


def _spelt(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def left_out(count: int) -> str:
    """Say, in the middle of a line, how much of it is not shown."""
    return f" [… {count:,} bytes not shown …] "


def cut(line: str, limit: int) -> str:
    """Leave out the middle of a line of more than `limit` characters."""
    if len(line) <= limit:
        return line
    half = limit // 2
    head, last = without_last_word(line[:half]), without_first_word(line[-half:])
    return f"{head}{left_out(len(line) - len(head) - len(last))}{last}"


def joined(head: bytes, missing: int, last: bytes) -> str:
    """Join the two ends of a line whose middle was not read; `missing` bytes lie between them."""
    first, end = without_last_word(decoded(head)), without_first_word(decoded(last))
    dropped = len(head) + len(last) - len(first.encode()) - len(end.encode())
    return f"{first}{left_out(missing + max(0, dropped))}{end}"


def without_last_word(text: str) -> str:
    """Drop the word that the text ends in, as it may go on behind the cut."""
    reach = min(WORD, len(text) // 2)
    kept = len(text) - reach
    blank = max(text.rfind(" ", kept), text.rfind("\t", kept))
    return text[: blank + 1] if blank >= 0 else text[:kept]


def without_first_word(text: str) -> str:
    """Drop the word that the text begins in, as it may have begun before the cut."""
    reach = min(WORD, len(text) // 2)
    blanks = [at for at in (text.find(" ", 0, reach), text.find("\t", 0, reach)) if at >= 0]
    return text[min(blanks) :] if blanks else text[reach:]
