"""Which database the backend will see, and where its URL stands.

What is checked is what the backend gets. So a URL that the user gives as `database` is also what the child
finds as DATABASE_URL: a check that looks at one database while the backend opens another proves nothing, and
the cell's `[database]` would be a comment. It is left as it is where the backend would see the same database
under another driver (`postgresql+asyncpg://`): the check needs no driver, the backend does.

Without `database` it is the DATABASE_URL that the backend itself will see, in the order in which a backend
started here sees it: `[env]`, `env_file`, the kernel's environment, `.env` in its folder. That a variable of
the environment hides the one in `.env` is python-dotenv's load_dotenv(override=False), its default (main.py,
version 1.2), and pydantic-settings' order too. An empty variable hides it as well.

Files and environment come in as values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from masuka_magic.config.model import Database

VARIABLE = "DATABASE_URL"
DOTENV = ".env"

MASUKA_CWD = "/content/masuka-v2/backend"
MASUKA_SOURCE = "MASUKA V2's defaults"
MASUKA_PASSWORD = "password123"  # noqa: S105 - the password that MASUKA V2's own setup creates the role with
_MASUKA_PASSWORD_NAMES = ("DB_PASSWORD", "POSTGRES_PASSWORD")

_DRIVER = re.compile(r"^([A-Za-z][A-Za-z0-9.-]*)(?:\+[A-Za-z0-9_.-]+)?://")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+_.-]*:/")


class Place(NamedTuple):
    """A place where the backend may find variables, and what stands there."""

    source: str
    values: Mapping[str, str]


def is_url(text: str) -> bool:
    """Say whether a text looks like a database URL at all."""
    return bool(_URL.match(text))


def seen_database(places: list[Place]) -> Database | None:
    """Return the DATABASE_URL that the backend will see; `places` run from the strongest to `.env`."""
    first = next((place for place in places if VARIABLE in place.values), None)
    if first is None or not first.values[VARIABLE].strip():
        return None
    url = first.values[VARIABLE]
    other = next((p for p in places if p.source == DOTENV and p.values.get(VARIABLE, url) != url), None)
    return Database(url, first.source, DOTENV if other and first.source != DOTENV else None)


def given_database(url: str, places: list[Place]) -> tuple[Database, bool]:
    """Return the database that the user named, and whether the child has to be given its URL."""
    strongest = next((place for place in places if VARIABLE in place.values), None)
    other = next((p for p in places if VARIABLE in p.values and not _is_same(url, p.values[VARIABLE])), None)
    must_give = strongest is None or not _is_same(url, strongest.values[VARIABLE])
    return Database(url, "database", other.source if other else None), must_give


def masuka_database(dotenv: Mapping[str, str]) -> Database:
    """Return MASUKA V2's own database, with the password of its `.env`, else the one its setup uses."""
    from urllib.parse import quote

    password = next((dotenv[name] for name in _MASUKA_PASSWORD_NAMES if dotenv.get(name)), MASUKA_PASSWORD)
    return Database(f"postgresql://masuka:{quote(password, safe='')}@localhost:5432/masuka", MASUKA_SOURCE)


def _is_same(url: str, other: str) -> bool:
    """Say whether two URLs name the same database: the driver behind a `+` may differ, `postgres` is an old
    name.
    """
    return _without_driver(url) == _without_driver(other)


def _without_driver(url: str) -> str:
    def scheme(match: re.Match[str]) -> str:
        return ("postgresql" if match[1].lower() == "postgres" else match[1].lower()) + "://"

    return _DRIVER.sub(scheme, url.strip())
