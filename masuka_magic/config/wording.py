"""How errors of this room quote what the user wrote: short, on one line, and never a secret.

It knows no key and no rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from masuka_magic.redact import Redactor

if TYPE_CHECKING:
    from masuka_magic.config.schema import Key

_LONGEST_QUOTE = 40
_HIDDEN_KINDS = frozenset({"database", "env", "words"})


class UnfitError(Exception):
    """The value does not fit: what is wanted instead, or, with `whole`, the whole rest of the error."""

    def __init__(self, wants: str, *, whole: bool = False) -> None:
        super().__init__(wants)
        self.wants = wants
        self.whole = whole


def shown(text: str, longest: int = _LONGEST_QUOTE) -> str:
    """Return foreign text as it may stand in an error: printable, cut, known shapes of secrets masked."""
    text = Redactor().text(text[:4000])
    text = "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 1] + "…"


def quoted(text: str, longest: int = _LONGEST_QUOTE) -> str:
    """Return foreign text in double quotes, as `shown`."""
    return f'"{shown(text, longest)}"'


def described(value: object, key: Key | None = None) -> str:
    """Say what was found where something else is wanted; texts that may hold a secret are not quoted."""
    match value:
        case bool():
            found = "true" if value else "false"
        case str():
            found = "this text" if key and key.kind in _HIDDEN_KINDS else quoted(value)
        case int():
            found = f"the number {value:d}" if abs(value) < 10**15 else "so large a number"
        case float():
            found = f"the number {value:g}"
        case list() | tuple():
            found = "a list"
        case dict():
            found = "a table"
        case _:
            kind = type(value).__name__
            found = f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {shown(kind)}"
    return found


def suggestion(name: str | None, otherwise: str) -> str:
    """Return the end of an error: the nearest valid name where there is one."""
    return f', did you mean "{shown(name)}"?' if name else otherwise
