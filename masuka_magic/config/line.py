"""The line after the magic's name: a target, every key of the schema as an option, and the options of this
one call.

It becomes a layer like the cell does. Comments are cut off, quotes work like in a shell. There is no list of
options here: they are made from the key table. Nothing is printed and nothing exits; bad input is a
ConfigError.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from masuka_magic.config.layers import Layer, Setting
from masuka_magic.config.model import ConfigError, StartOptions
from masuka_magic.config.schema import KEYS, OPTIONS, TARGETS, Key, nearest
from masuka_magic.config.values import check_env_name, fit
from masuka_magic.config.wording import quoted, shown

PLACE = "line"
_HELP = ("-h", "--help")
_BY_OPTION: dict[str, Key] = {key.option: key for key in KEYS.values()}
_SWITCHES = {
    f"{prefix}{name}": (name, not prefix.endswith("no-")) for name in OPTIONS for prefix in ("--", "--no-")
}
_OFF = {f"--no-{key.path[0]}": key for key in KEYS.values() if key.kind in {"flag", "database"}}
_SUGGESTED = [*_BY_OPTION, *_OFF, *(shown_as for _, shown_as, _ in OPTIONS.values()), "--help"]
_APPLICATION = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*(?:\(\))?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_OPTION_COLUMNS = 25
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")


class ParsedLine(NamedTuple):
    """What the line says; with `wants_help` (-h or --help stands on it) nothing else was looked at."""

    layer: Layer
    options: StartOptions
    wants_help: bool = False


def asks_for_help(line: str) -> bool:
    """Say whether -h or --help stands on the line; a broken line asks for nothing."""
    try:
        return any(word in _HELP for word in split_line(line))
    except ConfigError:
        return False


def split_line(line: str) -> list[str]:
    """Split a magic's line into words like a shell: quotes, escapes, and comments.

    A comment begins at a `#` after a blank; shlex's own also begin inside a word and would cut a password
    there.
    """
    try:
        return shlex.split(_without_comment(line))
    except ValueError as error:
        is_quote = "quotation" in str(error)
        reason = "a quotation is not closed" if is_quote else "a backslash at the end escapes nothing"
        raise ConfigError(f"{PLACE}: {reason}") from None


def _without_comment(line: str) -> str:
    quote = ""
    escaped = False
    before = " "
    for at, ch in enumerate(line):
        if escaped:
            escaped = False
        elif ch == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if ch == quote else quote
        elif ch in "\"'":
            quote = ch
        elif ch == "#" and before.isspace():
            return line[:at]
        before = ch
    return line


def parse_line(line: str) -> ParsedLine:
    """Read the line. Raises ConfigError with the nearest valid option."""
    words = split_line(line)
    if any(word in _HELP for word in words):
        return ParsedLine({}, StartOptions(), wants_help=True)
    layer: Layer = {}
    switches: dict[str, bool] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            _take_target(layer, word)
            continue
        option, equals, text = word.partition("=")
        if option in _SWITCHES and not equals:
            name, on = _SWITCHES[option]
            switches[name] = on
        elif option in _OFF and not equals:
            _add(layer, _OFF[option], value=False)
        elif option in _BY_OPTION:
            _take_key(layer, _BY_OPTION[option], text if equals else _next(_BY_OPTION[option], rest))
        elif option in _SWITCHES or option in _OFF:
            raise ConfigError(f"{PLACE}: {option} takes no value")
        else:
            raise ConfigError(_unknown(option))
    targets = [name for name in TARGETS if (name,) in layer]
    if len(targets) > 1:
        one, other = (layer[name,].label for name in targets[:2])
        raise ConfigError(f"{PLACE}: {one} and {other} are both given, keep one of them")
    if switches.get("restart") and switches.get("reuse"):
        raise ConfigError(f"{PLACE}: --restart and --reuse are both given, keep one of them")
    return ParsedLine(layer, replace(StartOptions(), **switches))


def _next(key: Key, rest: Iterator[str]) -> str | None:
    """Take an option's value from the words; None for a flag. An option in its place is a forgotten value."""
    if key.kind == "flag":
        return None
    text = next(rest, None)
    is_option = text is not None and text.partition("=")[0] in {*_BY_OPTION, *_OFF, *_SWITCHES}
    if text is None or (is_option and key.kind != "words"):
        raise ConfigError(f"{PLACE}: {key.option} wants a value, {key.metavar}")
    return text


def _take_target(layer: Layer, word: str) -> None:
    name = "app" if _APPLICATION.fullmatch(word) else "script" if word.endswith(".py") else None
    if name is None:
        known, equals, value = word.partition("=")
        close = _BY_OPTION.get("--" + known.replace("_", "-")) if equals else None
        if close:
            instead = f"{close.option} {shown(value, 30)}"
            raise ConfigError(f"{PLACE}: {quoted(known)} is an option, write {instead}")
        raise ConfigError(
            f"{PLACE}: {quoted(word)} is no target, write MODULE:ATTRIBUTE, FILE.py, "
            'or --module NAME (--command "…" for any program)'
        )
    if (name,) in layer:
        raise ConfigError(
            f"{PLACE}: {layer[name,].label} and {quoted(word)} are both given, keep one of them"
        )
    layer[name,] = Setting(fit(KEYS[name,], word, PLACE), PLACE, quoted(word))


def _take_key(layer: Layer, key: Key, text: str | None) -> None:
    if key.kind == "env":
        name, equals, variable = (text or "").partition("=")
        if not equals:
            raise ConfigError(f"{PLACE}: --env wants NAME=VALUE")
        check_env_name(name, PLACE)
        label = f"--env {shown(name)}"
        layer["env", name] = Setting(fit(key, variable, PLACE, label), PLACE, label)
        return
    value = True if text is None else _typed(key, text)
    if key.kind in {"paths", "words"} and key.path in layer:
        _add(layer, key, (*layer[key.path].value, *fit(key, value, PLACE, key.option)))
    else:
        _add(layer, key, value)


def _add(layer: Layer, key: Key, value: object) -> None:
    layer[key.path] = Setting(fit(key, value, PLACE, key.option), PLACE, key.option)


def _typed(key: Key, text: str) -> object:
    """Give a text of the line the type that TOML would have given it; what has none stays text."""
    match key.kind:
        case "flag" if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        case "database" if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        case "port" | "count" | "bytes" if _INTEGER.fullmatch(text):
            return int(text)
        case "seconds" | "minutes" if _NUMBER.fullmatch(text):
            return float(text)
        case "json":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise ConfigError(
                    f'{PLACE}: {key.option} wants JSON such as \'{{"status": "ok"}}\''
                ) from None
        case _:
            return text


def _unknown(option: str) -> str:
    close = nearest(option, _SUGGESTED)
    hint = f", did you mean {close}?" if close else "; %masuka_start --help lists them"
    return f"{PLACE}: unknown option {shown(option)}{hint}"


def line_help() -> str:
    """Write the help of %masuka_start and %%masuka_start, at most 80 columns wide."""
    import textwrap

    def entry(option: str, text: str) -> list[str]:
        return textwrap.wrap(
            text,
            79,
            initial_indent=f"  {option:<{_OPTION_COLUMNS}} " if len(option) <= _OPTION_COLUMNS else "",
            subsequent_indent=" " * 28,
        )

    lines = [
        "Start a web backend, show it coming up, and say why when it does not.",
        "",
        "  %masuka_start [TARGET] [OPTION ...]     one line",
        "  %%masuka_start [TARGET] [OPTION ...]    the cell holds the keys as TOML",
        "",
        *textwrap.wrap(
            "TARGET is app.main:app (MODULE:ATTRIBUTE) or server.py (a file); --module and --command start "
            "the rest. The line overrides the cell, the cell overrides masuka.toml in the working folder. "
            "$NAME is filled in, in env, database and args, from the notebook's variables, the environment "
            "and Colab's secrets; $$ is a dollar sign.",
            79,
        ),
        "",
        "Keys, as options and, with _ for -, in TOML (health and env are tables there):",
    ]
    for key in KEYS.values():
        option = f"{key.option} {key.metavar}".rstrip()
        text = key.doc + (f" (default: {key.default})" if key.default and key.kind != "flag" else "")
        lines += entry(option, text) if len(option) <= _OPTION_COLUMNS else [f"  {option}", *entry("", text)]
    lines += ["", "Options of this call alone:"]
    for _, option, doc in OPTIONS.values():
        lines += entry(option, doc)
    lines += entry("-h, --help", "show this text and start nothing")
    return "\n".join(lines) + "\n"
