"""Reads the text of a `.env` file: the part of python-dotenv's format that people use.

`NAME=value`, `export NAME=value`, values in single or double quotes (over several lines too), comments after
a blank, `${NAME}` and `${NAME:-default}`. The format is python-dotenv's (its parser.py and variables.py,
version 1.2): that is what FastAPI projects read their `.env` with. The text comes in as a value, and nothing
is put into any environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_BLANKS = re.compile(r"\s*")
_BLANKS_OF_LINE = re.compile(r"[^\S\r\n]*")
_NAME = re.compile(r"(?:export[^\S\r\n]+)?+(?:'([^']+)'|(?!')([^=#\s]+))[^\S\r\n]*")
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*+)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_PLAIN = re.compile(r"[^\r\n]*")
_REST = re.compile(r"[^\S\r\n]*(?:#[^\r\n]*)?(?:\r\n|\n|\r|\Z)")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_ESCAPE = re.compile(r"\\([\\'\"abfnrtv])")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_REFERENCE = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")


class Statement(NamedTuple):
    """One statement as written, not filled in; `name` None where the line could not be read, `value` None
    where the name stands alone.
    """

    name: str | None
    value: str | None
    line: int


def statements(text: str) -> list[Statement]:
    """Read a file's statements in their order; one that cannot be read comes back without a name."""
    text = text.removeprefix("\ufeff")
    found: list[Statement] = []
    at = _end(_BLANKS, text, 0)
    counted = 0
    line = 1
    while at < len(text):
        line += text.count("\n", counted, at)
        counted = at
        if text[at] != "#":
            statement, end = _statement(text, at, line)
            found.append(statement)
        else:
            end = _end(_LINE, text, at)
        at = _end(_BLANKS, text, end)
    return found


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _statement(text: str, at: int, line: int) -> tuple[Statement, int]:
    match = _NAME.match(text, at)
    if match is None:
        return Statement(None, None, line), _end(_LINE, text, at)
    name = match[1] or match[2]
    at = match.end()
    value: str | None = None
    if text.startswith("=", at):
        at += 1
        after_blanks = _end(_BLANKS_OF_LINE, text, at)
        spaced = after_blanks > at
        at = after_blanks
        quoted = {"'": _SINGLE, '"': _DOUBLE}.get(text[at : at + 1])
        if quoted:
            body = quoted.match(text, at)
            if body is None:
                return Statement(None, None, line), _end(_LINE, text, at)
            value = _unescaped(body[1], single=text[at] == "'")
            at = body.end()
        else:
            at_end = _end(_PLAIN, text, at)
            plain = text[at:at_end]
            value = "" if spaced and plain.startswith("#") else re.sub(r"\s#.*", "", plain).rstrip()
            at = at_end
    rest = _REST.match(text, at)
    if rest is None:
        return Statement(None, None, line), _end(_LINE, text, at)
    return Statement(name, value, line), rest.end()


def _unescaped(text: str, *, single: bool) -> str:
    if single:
        return re.sub(r"\\([\\'])", r"\1", text)
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)


def values(found: list[Statement], environ: Mapping[str, str], *, file_first: bool) -> dict[str, str]:
    """Fill in `${NAME}` in the order of the file and return what it sets.

    `file_first` says whose value a reference gets where both have one: the file's, as where it overrides the
    environment, or the environment's, as with load_dotenv's default, override=False.
    """
    known: dict[str, str | None] = {}
    order: tuple[Mapping[str, str | None], ...] = (known, environ) if file_first else (environ, known)

    def value(match: re.Match[str]) -> str:
        holder = next((names for names in order if match[1] in names), None)
        return (match[2] if holder is None else holder[match[1]]) or ""

    for statement in found:
        if statement.name is not None:
            text = statement.value
            # A bare name sets nothing, and takes back what an earlier line set: the last line counts.
            known[statement.name] = None if text is None else _REFERENCE.sub(value, text)
    return {name: text for name, text in known.items() if text is not None}
