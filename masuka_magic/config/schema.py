"""The key table as data: every key, its kind, its default as text, what it is for, where `$NAME` is filled
in.

The reader of TOML, the reader of the line and the help text are driven by this table and know no key of their
own. This module knows no value and no place; it is imported for the help text, so it stays cheap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from masuka_magic.config.model import TargetKind

Kind = Literal[
    "application",
    "bytes",
    "choice",
    "command",
    "count",
    "database",
    "env",
    "flag",
    "host",
    "json",
    "minutes",
    "module",
    "name",
    "path",
    "paths",
    "port",
    "seconds",
    "url_path",
    "words",
]
Path = tuple[str, ...]


class Key(NamedTuple):
    """One key. `path` is where it stands in TOML: ("port",), ("health", "timeout").

    `least` and `most` are in the unit of the kind (`seconds`, `minutes`, `bytes`, `count`), `least` itself
    excluded where `above` is set. `fills` says that `$NAME` is filled in.
    """

    path: Path
    kind: Kind
    metavar: str
    doc: str
    default: str = ""
    choices: tuple[str, ...] = ()
    least: float = 0
    most: float = 0
    above: bool = False
    fills: bool = False

    @property
    def option(self) -> str:
        """The same key on the line: `--env-file`, `--health-timeout`, and `--health` for the path."""
        parts = self.path[:1] if self.path == ("health", "path") else self.path
        return "--" + "-".join(parts).replace("_", "-")


DAY_S = 86_400
TARGETS: tuple[TargetKind, ...] = ("app", "script", "module", "command")

# What belongs to one kind of target: a target of another kind in a higher layer leaves them behind.
OF_TARGET: dict[str, tuple[TargetKind, ...]] = {
    "factory": ("app",),
    "server": ("app",),
    "shell": ("command",),
    "args": TARGETS,
}

_TABLE = (
    Key(("app",), "application", "MODULE:ATTRIBUTE", "ASGI or WSGI application", "app.main:app"),
    Key(("script",), "path", "FILE.py", "a Python file instead of an application"),
    Key(("module",), "module", "NAME", "a Python module instead, run as python -m"),
    Key(("command",), "command", "TEXT", "any program instead, split like a shell would, without a shell"),
    Key(("factory",), "flag", "", "the attribute of app is a function that makes the application", "false"),
    Key(("shell",), "flag", "", "run command through /bin/sh", "false"),
    Key(
        ("server",),
        "choice",
        "NAME",
        "the server for app: uvicorn, hypercorn or gunicorn",
        "uvicorn",
        choices=("uvicorn", "hypercorn", "gunicorn"),
    ),
    Key(("args",), "words", "TEXT", "further arguments; {port} and {host} are filled in", fills=True),
    Key(("python",), "path", "PATH", "the backend's interpreter", "the kernel's"),
    Key(("cwd",), "path", "FOLDER", "the backend's working folder", "the kernel's"),
    Key(("env",), "env", "NAME=VALUE", "added to the kernel's environment", fills=True),
    Key(("env_file",), "paths", "FILE", "files of NAME=VALUE lines, as in Compose; env overrides them"),
    Key(("host",), "host", "ADDRESS", "the address to bind", "127.0.0.1"),
    Key(("port",), "port", "PORT", 'the port to bind; "auto" picks a free one', "8000", least=1, most=65_535),
    Key(
        ("health", "path"), "url_path", "/PATH", "what is asked to know that the backend is ready", "/health"
    ),
    Key(("health", "status"), "count", "CODE", "the status that counts as ready", "200", least=100, most=599),
    Key(("health", "json"), "json", "JSON", "what the answer's JSON has to hold"),
    Key(
        ("health", "timeout"),
        "seconds",
        "TIME",
        "the limit of one probe, in all",
        "5 s",
        most=600,
        above=True,
    ),
    Key(
        ("health", "owner"),
        "choice",
        "WHO",
        '"ours", or "any" for a server that leaves the process tree',
        "ours",
        choices=("ours", "any"),
    ),
    Key(
        ("database",),
        "database",
        "URL",
        "checked first, and what the backend gets as DATABASE_URL; false for none",
        "the DATABASE_URL that the backend will see",
        fills=True,
    ),
    Key(("gpu",), "flag", "", "the backend needs a GPU", "false"),
    Key(("stall",), "seconds", "TIME", "so long without movement is a stall", "40 s", most=DAY_S, above=True),
    Key(("max_wait",), "seconds", "TIME", "how long to wait in all", "10 min", most=7 * DAY_S, above=True),
    Key(
        ("on_stall",),
        "choice",
        "WHAT",
        "keep or stop a backend that has stalled",
        "keep",
        choices=("keep", "stop"),
    ),
    Key(("liveness",), "seconds", "TIME", "between probes after ready; 0 for none", "30 s", most=DAY_S),
    Key(
        ("orphan_grace",),
        "minutes",
        "TIME",
        'how long the backend outlives the kernel: minutes, or with a unit, or "never" to let it live',
        "10 min",
        most=525_600,
    ),
    Key(("max_log",), "bytes", "SIZE", "kept of stdout and of stderr", "1 GB", least=100_000, most=10**15),
    Key(("name",), "name", "NAME", "the service's name", "backend"),
)
KEYS: dict[Path, Key] = {key.path: key for key in _TABLE}
TABLES = ("env", "health", "database")
TOP_NAMES = tuple(dict.fromkeys(path[0] for path in KEYS))
SUB_NAMES = {"health": tuple(path[1] for path in KEYS if path[0] == "health"), "database": ("url",)}

# The options that say how this call behaves: name, value, what it does.
OPTIONS = {
    "wait": (True, "--no-wait", "give the cell back at once"),
    "restart": (False, "--restart", "restart, even when nothing changed"),
    "reuse": (False, "--reuse", "keep a running backend, even when something changed"),
    "text": (False, "--text", "text instead of widgets"),
    "quiet": (False, "--quiet", "show failures only"),
}

# What other tools call the same thing. A misspelling is found by its letters, another tool's word only here.
_OTHER_WORDS = {
    "address": "host",
    "application": "app",
    "arguments": "args",
    "bind": "host",
    "cmd": "command",
    "database_url": "database",
    "db": "database",
    "directory": "cwd",
    "environment": "env",
    "envfile": "env_file",
    "expect": "json",
    "factory_app": "factory",
    "file": "script",
    "folder": "cwd",
    "healthcheck": "health",
    "interpreter": "python",
    "target": "app",
    "timeout": "max_wait",
    "workdir": "cwd",
    "working_dir": "cwd",
    "working_directory": "cwd",
}


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Find the valid name that was probably meant, by what other tools call it, then by its letters."""
    known = list(candidates)
    # Longer input is no misspelling, and difflib's time grows with it.
    folded = word[:64].lower().replace("-", "_").strip("_")
    by_folded = {name.lower().replace("-", "_").strip("_"): name for name in known}
    other = _OTHER_WORDS.get(folded)
    if folded not in by_folded and other in by_folded:
        return by_folded[other]
    from difflib import get_close_matches

    close = get_close_matches(folded, list(by_folded), n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None
