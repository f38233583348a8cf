"""Layers of settings: a table of TOML or of Python becomes a layer, and layers become one.

A layer maps a key's path to a Setting, which remembers the place it was written at, so that every later error
can name it. Merging is a decision about paths alone: tables merge key by key because their keys are paths of
their own. Nothing here fills in `$NAME` or knows a default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from masuka_magic.config.model import ConfigError
from masuka_magic.config.schema import (
    KEYS,
    OF_TARGET,
    OPTIONS,
    SUB_NAMES,
    TABLES,
    TARGETS,
    TOP_NAMES,
    Path,
    nearest,
)
from masuka_magic.config.values import check_env_name, fit
from masuka_magic.config.wording import described, quoted, shown, suggestion
from masuka_magic.redact import is_secret_name

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_STATEMENT = re.compile(r"\s*[\w.\"'-]+\s*=")
_LISTED = "; %masuka_start --help lists the keys"


class Setting(NamedTuple):
    """A value in its kind's form, and where it was written: "cell", "cell, [env]", "line"; `label` is its
    name.
    """

    value: Any
    place: str
    label: str


Layer = dict[Path, Setting]


def read_toml(text: str, place: str) -> Layer:
    """Read a cell or a masuka.toml. Raises ConfigError with the line where the TOML is broken."""
    import tomllib

    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_broken(text, place, str(error))) from None
    except RecursionError:
        raise ConfigError(f"{place}: the tables are nested too deep") from None
    except ValueError:
        # int() refuses more than some thousand digits before tomllib can say where.
        raise ConfigError(f"{place}: a number has too many digits") from None
    return read_table(table, place, toml=True)


def read_table(table: Mapping[str, object], place: str, *, toml: bool = False) -> Layer:
    """Read a table of keys. From Python None means "not given", and paths may be path objects."""
    layer: Layer = {}
    for name, given in table.items():
        if not isinstance(name, str):
            raise ConfigError(f"{place}: a key has to be a text, not {described(name)}")
        value = given if toml else _from_python(given)
        if value is None:
            continue
        if name not in TOP_NAMES:
            raise ConfigError(f"{place}: {_unknown(name, value)}")
        if name in TABLES:
            layer |= _read_subtable(name, value, place, toml=toml)
        else:
            layer[name,] = Setting(fit(KEYS[name,], value, place), place, name)
    targets = [name for name in TARGETS if (name,) in layer]
    if len(targets) > 1:
        raise ConfigError(f'{place}: "{targets[0]}" and "{targets[1]}" are both given, keep one of them')
    return layer


def _from_python(value: object) -> object:
    """Return path objects as text, in lists too."""
    if isinstance(value, list | tuple):
        return [_from_python(inner) for inner in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _read_subtable(name: str, value: object, place: str, *, toml: bool) -> Layer:
    inside = f"{place}, [{name}]"
    if name == "env":
        if not isinstance(value, Mapping):
            found = described(value, KEYS["env",])
            raise ConfigError(f"{place}: env wants a table of names and values, not {found}")
        return _read_env(value, inside, toml=toml)
    if not isinstance(value, Mapping):
        path = ("health", "path") if name == "health" else (name,)
        return {path: Setting(fit(KEYS[path], value, place, name), place, name)}
    layer: Layer = {}
    for inner, given in value.items():
        if not isinstance(inner, str) or inner not in SUB_NAMES[name]:
            raise ConfigError(f"{inside}: {_unknown_inside(name, inner)}")
        if given is None and not toml:
            continue
        path = (name,) if name == "database" else (name, inner)
        if name == "database" and given is False:
            raise ConfigError(f"{inside}: url wants a URL (database = false is for none)")
        layer[path] = Setting(fit(KEYS[path], given, inside, inner), inside, inner)
    if name == "database" and not layer:
        raise ConfigError(f"{inside}: url is missing")
    return layer


def _read_env(table: Mapping[object, object], place: str, *, toml: bool) -> Layer:
    layer: Layer = {}
    for name, given in table.items():
        if not isinstance(name, str):
            raise ConfigError(f"{place}: a name has to be a text, not {described(name)}")
        value = given if toml else _from_python(given)
        if value is None:
            continue
        if toml and name in TOP_NAMES:
            # TOML has no end of a table: a key written below [env] belongs to it, and would be lost in
            # silence.
            raise ConfigError(f'{place}: "{name}" is a key of the start, write it above the first [table]')
        check_env_name(name, place)
        label = shown(name)
        layer["env", name] = Setting(fit(KEYS["env",], value, place, label), place, label)
    return layer


def _unknown(name: str, value: object) -> str:
    close = nearest(name, TOP_NAMES)
    if isinstance(value, Mapping) and (close is None or close in TABLES):
        listed = ", ".join(f"[{table}]" for table in TABLES)
        hint = f", did you mean [{close}]?" if close else f"; the tables are {listed}"
        return f"unknown table [{shown(name)}]{hint}"
    if name in OPTIONS:
        return f'"{name}" is no key but an option of the line, {OPTIONS[name][1]}'
    return f"unknown key {quoted(name)}{suggestion(close, _LISTED)}"


def _unknown_inside(table: str, name: object) -> str:
    text = name if isinstance(name, str) else described(name)
    if text in TOP_NAMES:
        return f'unknown key "{text}", write it above the first [table]'
    close = nearest(text, SUB_NAMES[table])
    listed = f"; known: {', '.join(SUB_NAMES[table])}"
    return f"unknown key {quoted(text)}{suggestion(close, listed)}"


def _broken(text: str, place: str, message: str) -> str:
    """Make tomllib's message one line that names the line, and quotes it if it can hold no secret."""
    match = _AT_LINE.search(message)
    reason = _AT_LINE.sub("", message).replace(" (at end of document)", "")
    reason = shown(reason[:1].lower() + reason[1:], 80)
    lines = text.split("\n")
    number = int(match[1]) if match else max(len(text.rstrip().split("\n")), 1)
    line = _harmless(lines, number)
    return f"{place}, line {number}: {reason}" + (f": {quoted(line, 48)}" if line else "")


def _harmless(lines: list[str], number: int) -> str:
    """Return the line as it may be shown; of an assignment that may hold a secret the name alone."""
    line = lines[number - 1].strip() if number <= len(lines) else ""
    before = "\n".join(lines[: number - 1])
    if '"""' in before or "'''" in before or not re.match(r"[A-Za-z_\[]", line):
        return ""  # Perhaps inside a text or a list of several lines.
    if not _STATEMENT.match(line):
        return line
    name = line.split("=", 1)[0].strip()
    below_table = any(previous.lstrip().startswith("[") for previous in lines[: number - 1])
    open_key = (name,) in KEYS and not KEYS[name,].fills and not below_table and name != "command"
    return line if open_key and not is_secret_name(name) else f"{name} = …"


def merge(highest_first: Iterable[Layer]) -> Layer:
    """Make one layer of several. A target of another kind leaves behind what belonged to the replaced one."""
    merged: Layer = {}
    for layer in reversed(list(highest_first)):
        target = next((name for name in TARGETS if (name,) in layer), None)
        if target:
            replaced = next((name for name in TARGETS if (name,) in merged), target)
            merged.pop((replaced,), None)
            for name in OF_TARGET if replaced != target else ():
                merged.pop((name,), None)
        merged |= layer
    return merged
