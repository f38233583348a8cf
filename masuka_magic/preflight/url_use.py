"""How the backend's own sources use its database URL, read as text: nothing is imported or run.

A URL that SQLAlchemy refuses is no fault where the sources mend it (`url.replace("postgres://", …)`), or where
another library gets it. Here is looked for what speaks against a verdict; what cannot be read in time does so
too. It is read only where a verdict would be a refusal, so a healthy start does not pay for it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 0.5
_MOST_FILES = 3000
_LARGEST_FILE = 500_000
_NOT_SOURCES = frozenset({"site-packages", "dist-packages", "node_modules", "tests", "test", "venv", "env"})

_ALCHEMY = re.compile(r"^\s*(?:import|from)\s+(?:\w*sqlalchemy|sqlmodel)\b", re.MULTILINE)
_ASKED = re.compile(r"database_?ur[li]", re.IGNORECASE)
#: Libraries that open a database URL by themselves, each with its own rules.
_OTHERS = re.compile(
    r"^\s*(?:import|from)\s+(?:asyncpg|aiopg|psycopg2?|psycopg_pool|pg8000|aiosqlite|aiomysql|asyncmy|pymysql"
    r"|databases|tortoise|peewee|playhouse|peewee_async|piccolo|django|dj_database_url|environ|prisma|gino|ormar"
    r"|pony|records|dataset|edgedb|sqlalchemy_utils|mongoengine|motor|pymongo|beanie|odmantic)\b",
    re.MULTILINE,
)
#: A scheme by itself is there to be compared or put in front of something; parts of a URL are there to be changed.
#: `"sqlite" in url` is asked by most who set check_same_thread, and mends nothing.
_MENDED = re.compile(
    r"""["'](?:(?:postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?|sqlite\+\w+)(?::(?://+)?)?(?:["'{%]|\\)"""
    r"""|["'+](?:asyncpg|psycopg\w*|pg8000|aiosqlite|aiomysql|asyncmy|pymysql)\b(?!://\w)"""
    r"|\bdrivername\b|\bmake_url\b|\bURL\.create\b|\burl(?:parse|split|unsplit|unparse)\b|\bregistry\.register\b"
    r"|\b(?:PostgresDsn|MultiHostUrl|AnyUrl)\.build\b"
    r"|(?i:ur[li]\w*\)?\.(?:replace|split|partition|rpartition|removeprefix|lstrip|format)\()|\bre\.sub\("
    r"|\bconnect_args\b.*\bssl|\bcreator\s*=|\basync_creator\s*="
)
_SYNC_ENGINE = re.compile(r"(?<!async_)\b(?:create_engine|engine_from_config)\s*\(")
_ASYNC_ENGINE = re.compile(r"\b(?:create_async_engine|async_engine_from_config)\s*\(")
_MAKES_FOLDERS = re.compile(r"\bmkdir\s*\(|\bmakedirs\s*\(")


@dataclass(frozen=True, slots=True)
class UrlUse:
    """What the sources show. `complete`: all of them were read. `files` is how many that were."""

    complete: bool = True
    files: int = 0
    alchemy: bool = False
    asked: bool = False
    other_library: bool = False
    mended: bool = False
    makes_folders: bool = False

    @property
    def plain(self) -> bool:
        """Whether SQLAlchemy, and nobody else, gets the URL as it is."""
        usual = self.alchemy and self.asked and not self.other_library and not self.mended
        return self.complete and usual


def engine_kind(roots: tuple[str, ...], limit_s: float) -> bool | None:
    """Say whether the sources make asynchronous engines alone (True), synchronous ones alone (False).

    None: both, neither, or too many sources for the limit. It is asked of every start, so it only looks for
    two words.
    """
    deadline = time.monotonic() + limit_s
    kinds = set()
    for path in _sources(roots):
        if time.monotonic() > deadline:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if b"_engine" in content:
            text = content.decode("utf-8", "replace")
            kinds |= {kind for kind, words in _ENGINES.items() if words.search(text)}
    return kinds.pop() if len(kinds) == 1 else None


def read_url_use(roots: tuple[str, ...], limit_s: float = LIMIT_S) -> UrlUse:
    """Read the Python sources under the roots, for at most `limit_s`."""
    deadline = time.monotonic() + limit_s
    said: dict[str, bool] = {}
    count = 0
    for path in _sources(roots):
        count += 1
        if count > _MOST_FILES or time.monotonic() > deadline:
            return UrlUse(complete=False, files=count)
        try:
            if path.stat().st_size > _LARGEST_FILE:
                continue
            text = path.read_text("utf-8", "replace")
        except OSError:
            return UrlUse(complete=False, files=count)
        for name, pattern in _PATTERNS.items():
            said[name] = said.get(name, False) or pattern.search(text) is not None
    return UrlUse(files=count, **said)


_ENGINES = {True: _ASYNC_ENGINE, False: _SYNC_ENGINE}
_PATTERNS = {
    "alchemy": _ALCHEMY,
    "asked": _ASKED,
    "other_library": _OTHERS,
    "mended": _MENDED,
    "makes_folders": _MAKES_FOLDERS,
}


def _sources(roots: tuple[str, ...]) -> Iterator[Path]:
    for root in roots:
        if Path(root).is_file():
            yield Path(root)
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith((".", "__pycache__"))
                and name not in _NOT_SOURCES
                and not Path(folder, name, "pyvenv.cfg").exists()
            )
            yield from (Path(folder, name) for name in files if name.endswith(".py"))
