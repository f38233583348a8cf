"""One value against its key: what fits comes back in one form per kind, what does not is a ConfigError.

The forms: seconds and minutes as numbers in that unit, bytes as a whole number, words and paths as tuples of
text; "auto" and "never" stay words. Each form is accepted again as input, so that a stored configuration can
be read back. This module sees one value at a time: no layer, no file, no `$NAME`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from masuka_magic.config import quantities
from masuka_magic.config.model import ConfigError
from masuka_magic.config.schema import Key, nearest
from masuka_magic.config.wording import UnfitError, described, shown, suggestion

_APPLICATION = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*(?:\(\))?")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_.:%-]+")
_DEEPEST_JSON = 32


def fit(key: Key, value: object, place: str, label: str | None = None) -> Any:  # noqa: ANN401 - a form per kind
    """Return the value in its kind's form.

    `place` and `label` ("cell", "port"; "line", "--port") begin the ConfigError where it does not fit.
    """
    label = label or key.path[-1]
    try:
        return _FITS[key.kind](key, value)
    except UnfitError as unfit:
        if unfit.whole:
            raise ConfigError(f"{place}: {label} {unfit.wants}") from None
        raise ConfigError(f"{place}: {label} wants {unfit.wants}, not {described(value, key)}") from None


def _text(value: object, wants: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UnfitError(wants)
    return whole_text(value)


def whole_text(value: str) -> str:
    """Return the text if a program can be given it: no NUL, and encodable as a file name is."""
    if "\0" in value:
        raise UnfitError("holds a NUL character, which no program can be given", whole=True)
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnfitError("holds half a character (a lone surrogate)", whole=True) from None
    return value


def _application(_key: Key, value: object) -> str:
    text = _text(value, 'a text such as "app.main:app"').strip()
    if _APPLICATION.fullmatch(text):
        return text
    if text.endswith(".py"):
        raise UnfitError('"module:attribute" (a file is started with script = "FILE.py")')
    if "/" in text:
        raise UnfitError('"module:attribute" with dots; its folder is cwd')
    raise UnfitError('"module:attribute" such as "app.main:app"')


def _module(_key: Key, value: object) -> str:
    text = _text(value, 'the dotted name of a module such as "app.serve"').strip()
    if not _MODULE.fullmatch(text):
        raise UnfitError('the dotted name of a module such as "app.serve"')
    return text


def _command(_key: Key, value: object) -> str:
    wants = 'a text such as "node server.js"'
    text = _text(value, wants)
    if not split(text, "is no command line")[0]:
        raise UnfitError(wants)
    return text


def split(text: str, complaint: str) -> tuple[str, ...]:
    """Split a text into words like a shell does."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UnfitError(f"{complaint}: {str(error).lower()}", whole=True) from None


def _words(_key: Key, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return split(whole_text(value), "cannot be split into words")
    if not isinstance(value, list | tuple):
        raise UnfitError("a list of texts, or one text")
    if not all(isinstance(word, str) for word in value):
        odd = next(word for word in value if not isinstance(word, str))
        raise UnfitError(f"wants a list of texts, but holds {described(odd)}", whole=True)
    return tuple(whole_text(word) for word in value)


def _paths(_key: Key, value: object) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple):
        raise UnfitError("a file's path, or a list of them")
    return tuple(_text(path, "a file's path, or a list of them") for path in found)


def _path(_key: Key, value: object) -> str:
    return _text(value, "a path")


def _choice(key: Key, value: object) -> str:
    text = value.strip().lower() if isinstance(value, str) else None
    if text in key.choices:
        return text
    listed = " or ".join(f'"{choice}"' for choice in key.choices).replace(" or ", ", ", len(key.choices) - 2)
    close = nearest(text, key.choices) if text else None
    if close:
        raise UnfitError(f"wants {listed}, not {described(value)}{suggestion(close, '')}", whole=True)
    raise UnfitError(listed)


def _flag(_key: Key, value: object) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("true or false")
    return value


def _host(_key: Key, value: object) -> str:
    wants = 'an address to bind such as "127.0.0.1"'
    text = _text(value, wants).strip().removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(text):
        raise UnfitError(wants)
    return text


def _url_path(_key: Key, value: object) -> str:
    wants = 'a path such as "/health"'
    text = _text(value, wants).strip()
    if not text.startswith("/") or not text.isprintable() or " " in text:
        raise UnfitError(wants)
    return text


def _name(_key: Key, value: object) -> str:
    wants = "up to 64 letters, digits, dots, dashes and underscores"
    text = _text(value, wants)
    if not _NAME.fullmatch(text):
        raise UnfitError(wants)
    return text


def _database(_key: Key, value: object) -> str | bool:
    if value is False:
        return False
    return _text(value, "a URL, or false for none").strip()


def _env(_key: Key, value: object) -> str:
    """Give numbers and booleans the form that settings libraries read: 8000, true."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            if abs(value) < 10**300:
                return str(value)
            raise UnfitError("is no number that a text can hold", whole=True)
        case str():
            return whole_text(value)
        case _:
            raise UnfitError("a text, a number or a boolean")


def _json(_key: Key, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError("a table")
    return {name: _plain(inner) for name, inner in value.items()}


def _plain(value: object, depth: int = 1) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value unchanged, tuples as lists; a date, a NaN or an object of Python's can match no
    JSON.
    """
    if depth > _DEEPEST_JSON:
        raise UnfitError(f"is nested deeper than {_DEEPEST_JSON} tables", whole=True)
    match value:
        case None | bool() | str():
            return value
        case int() | float() if abs(value) < 10**300:
            return value
        case list() | tuple():
            return [_plain(inner, depth + 1) for inner in value]
        case dict() if all(isinstance(name, str) for name in value):
            return {name: _plain(inner, depth + 1) for name, inner in value.items()}
        case _:
            raise UnfitError(f"holds {described(value)}, which no JSON can hold", whole=True)


_FITS: dict[str, Callable[[Key, object], Any]] = {
    "application": _application,
    "bytes": quantities.size,
    "choice": _choice,
    "command": _command,
    "count": quantities.count,
    "database": _database,
    "env": _env,
    "flag": _flag,
    "host": _host,
    "json": _json,
    "minutes": quantities.minutes,
    "module": _module,
    "name": _name,
    "path": _path,
    "paths": _paths,
    "port": quantities.port,
    "seconds": quantities.seconds,
    "url_path": _url_path,
    "words": _words,
}


def check_env_name(name: str, place: str) -> str:
    """Return the name if the environment can hold it."""
    if not name or "=" in name or "\0" in name or not name.isprintable():
        raise ConfigError(f'{place}: "{shown(name)}" is no name that the environment can hold')
    return name
