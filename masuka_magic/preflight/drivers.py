"""Judge whether SQLAlchemy, as it is installed for the backend, can use a database URL. Pure.

No verdict is the rule: a URL is refused here only where SQLAlchemy itself would refuse it, whatever it is given
besides. Whether SQLAlchemy gets this URL at all, unchanged, is not known here (`url_use.py` looks at that).
The tables are those of sqlalchemy/dialects/*/__init__.py and of each driver's `import_dbapi` (1.4, 2.0, 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.diagnosis.postgres_url import HIDDEN

_DEFAULT_DRIVERS = {
    "postgresql": "psycopg2",
    "mysql": "mysqldb",
    "mariadb": "mysqldb",
    "sqlite": "pysqlite",
    "oracle": "cx_oracle",
    "mssql": "pyodbc",
}
_DEFAULT_DRIVERS_OF_2_1 = {"postgresql": "psycopg", "oracle": "oracledb"}
#: Driver, module that it imports, distribution that brings the module; "" for the standard library's own.
_MYSQL = {
    "mysqldb": ("MySQLdb", "mysqlclient"),
    "pymysql": ("pymysql", "pymysql"),
    "aiomysql": ("aiomysql", "aiomysql"),
    "asyncmy": ("asyncmy", "asyncmy"),
    "mysqlconnector": ("mysql", "mysql-connector-python"),
    "mariadbconnector": ("mariadb", "mariadb"),
    "cymysql": ("cymysql", "cymysql"),
    "pyodbc": ("pyodbc", "pyodbc"),
}
_DRIVERS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "postgresql": {
        "psycopg2": ("psycopg2", "psycopg2-binary"),
        "psycopg": ("psycopg", "psycopg[binary]"),
        "psycopg_async": ("psycopg", "psycopg[binary]"),
        "asyncpg": ("asyncpg", "asyncpg"),
        "pg8000": ("pg8000", "pg8000"),
        "psycopg2cffi": ("psycopg2cffi", "psycopg2cffi"),
    },
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": {
        "pysqlite": ("sqlite3", ""),
        "aiosqlite": ("aiosqlite", "aiosqlite"),
    },
    "oracle": {"cx_oracle": ("cx_Oracle", "cx_Oracle"), "oracledb": ("oracledb", "oracledb")},
    "mssql": {
        "pyodbc": ("pyodbc", "pyodbc"),
        "pymssql": ("pymssql", "pymssql"),
        "aioodbc": ("aioodbc", "aioodbc"),
    },
}
_ASYNC_ALONE = frozenset({"asyncpg", "aiosqlite", "aiomysql", "asyncmy", "aioodbc", "psycopg_async"})
_BOTH = frozenset({"psycopg", "oracledb", "oracledb_async"})
_ASYNC_CHOICE = {
    "postgresql": ("asyncpg", "psycopg"),
    "sqlite": ("aiosqlite",),
    "mysql": ("aiomysql", "asyncmy"),
}
_SYNC_CHOICE = {
    "postgresql": ("psycopg2", "psycopg", "pg8000"),
    "sqlite": ("pysqlite",),
    "mysql": ("pymysql", "mysqldb"),
}
_MISSPELT = {"postgres": "postgresql", "pgsql": "postgresql", "postgre": "postgresql", "psql": "postgresql"}
_MISSPELT |= {"sqlite3": "sqlite", "postgress": "postgresql", "postgressql": "postgresql"}

# SQLAlchemy hands the query of a URL on as keyword arguments: what libpq knows and these drivers do not is a
# TypeError (asyncpg.connect and pg8000.connect, asyncpg 0.32, pg8000 1.31).
_LIBPQ_ALONE = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslcrl",
        "sslnegotiation",
        "channel_binding",
        "gssencmode",
    }
    | {
        "connect_timeout",
        "options",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "client_encoding",
    }
)
_REFUSED = {"asyncpg": _LIBPQ_ALONE | {"application_name"}, "pg8000": _LIBPQ_ALONE}
_SSL_OF_ASYNCPG = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_SCHEME = re.compile(r"\s*([\w+]+)://")
_PASSWORD = re.compile(r"(://[^:/?@]*:)[^/]*(?=@)|([?&](?:password|sslpassword)=)[^&]*")


@dataclass(frozen=True, slots=True)
class Packages:
    """What is installed for the backend's interpreter.

    `sqlalchemy` is its version, None where it is not installed. `has_module` says whether a top-level module
    can be imported; `plugins` are the dialects that other distributions bring (`cockroachdb`, `mysql.foo`).
    """

    python: str
    sqlalchemy: tuple[int, ...] | None
    has_module: Callable[[str], bool]
    plugins: Callable[[], frozenset[str]] = field(default=frozenset)

    @property
    def named(self) -> str:
        return f"SQLAlchemy {'.'.join(map(str, self.sqlalchemy or ()))}"


def driver_of(url: str, packages: Packages) -> tuple[str, str] | None:
    """Return dialect and driver that SQLAlchemy takes for the URL; None where it is not installed."""
    match = _SCHEME.match(url)
    if match is None or packages.sqlalchemy is None:
        return None
    dialect, _, driver = match[1].partition("+")
    defaults = {**_DEFAULT_DRIVERS, **(_DEFAULT_DRIVERS_OF_2_1 if packages.sqlalchemy >= (2, 1) else {})}
    return dialect, driver or defaults.get(dialect, "")


def judge_url(url: str, packages: Packages) -> Finding | None:
    """Name what SQLAlchemy refuses in the URL; None where it takes it, or where that is not known."""
    taken = driver_of(url, packages)
    if taken is None or packages.sqlalchemy is None or packages.sqlalchemy < (1, 4):
        return None
    dialect, driver = taken
    known = _DRIVERS.get(dialect)
    if known is None:
        return _unknown_dialect(url, dialect, packages)
    if driver not in known:
        named = f"{dialect}.{driver}"
        return (
            None if _may_be_there(dialect, driver, named, packages) else _unknown_driver(url, taken, packages)
        )
    module, distribution = known[driver]
    if distribution and not packages.has_module(module):
        return _missing_driver(url, dialect, driver, module, packages)
    if dialect == "sqlite" and url.partition("://")[2][:1] not in ("", "/", "?"):
        return _sqlite_host(url, packages)
    return _refused_option(url, driver)


def judge_use(url: str, packages: Packages, *, asynchronous: bool) -> Finding | None:
    """Name a driver of the wrong kind: `create_async_engine` takes others than `create_engine`."""
    taken = driver_of(url, packages)
    if taken is None or taken[1] not in _DRIVERS.get(taken[0], {}) or taken[1] in _BOTH:
        return None
    dialect, driver = taken
    if asynchronous == (driver in _ASYNC_ALONE):
        return None
    call = "create_async_engine" if asynchronous else "create_engine"
    kind, other = ("an asynchronous", "not one") if asynchronous else ("a synchronous", "asynchronous")
    return Finding(
        "bad-url",
        f"{call} needs {kind} driver, and {driver}, which the database URL takes, is {other}",
        driver,
        notes=(f"in the backend's sources {call} alone makes an engine", _runs_with(packages)),
        remedies=_with_another(url, dialect, (_ASYNC_CHOICE if asynchronous else _SYNC_CHOICE), packages),
    )


def without_secret(url: str) -> str:
    """Return the URL with its password hidden."""
    return _PASSWORD.sub(lambda match: f"{match[1] or match[2]}{HIDDEN}", url.strip())


def _may_be_there(dialect: str, driver: str, plugin: str, packages: Packages) -> bool:
    """Whether a driver that the table lacks may come from SQLAlchemy's inside or from a plugin."""
    inside = {"mysql", "mariadb", "oracle", "mssql"}  # Rare ones are not in the table.
    return dialect in inside or driver in {"pysqlcipher", "pysqlite_numeric"} or plugin in packages.plugins()


def _unknown_dialect(url: str, dialect: str, packages: Packages) -> Finding | None:
    right = _MISSPELT.get(dialect.lower()) or (dialect.lower() if dialect.lower() in _DRIVERS else None)
    scheme = (_SCHEME.match(url) or [""])[0].strip().removesuffix("://")
    # A scheme of another world (mongodb, neo4j) is not for SQLAlchemy, however it is installed beside.
    if right is None or packages.plugins() & {dialect, scheme.replace("+", ".")}:
        return None
    fixed = _with_scheme(url, scheme.replace(dialect, right, 1))
    again = judge_url(fixed, packages)
    write = Remedy(f"write {right}", without_secret(fixed), "edit")
    fixes = (write,) if again is None else again.remedies
    notes: tuple[str, ...] = (_runs_with(packages),)
    if dialect == "postgres":
        notes = ("SQLAlchemy took postgres:// until 1.3, and takes postgresql:// alone since 1.4", *notes)
    title = f"{packages.named} does not know {dialect}:// in the database URL"
    return Finding("bad-url", title, f"{dialect}://", notes=notes, remedies=fixes)


def _unknown_driver(url: str, taken: tuple[str, str], packages: Packages) -> Finding:
    dialect, driver = taken
    return Finding(
        "bad-url",
        f"{packages.named} does not know the driver {driver} in the database URL",
        f"{dialect}+{driver}://",
        notes=(_runs_with(packages),),
        remedies=_with_another(url, dialect, _SYNC_CHOICE, packages),
    )


def _missing_driver(url: str, dialect: str, driver: str, module: str, packages: Packages) -> Finding:
    """Name a driver that is not installed; where the URL does not name it, another one may be meant."""
    named = "+" in (_SCHEME.match(url) or [""])[0]
    scheme = f"{dialect}+{driver}" if named else dialect
    title = f"the database URL needs the driver {driver}, and the module {module} is not installed"
    notes = (f"{packages.named} takes {driver} for {scheme}://", _runs_with(packages))
    install = Remedy(
        "install it", f"{_quoted(packages.python)} -m pip install {_quoted(_DRIVERS[dialect][driver][1])}"
    )
    choice = _ASYNC_CHOICE if driver in _ASYNC_ALONE else _SYNC_CHOICE
    other = _with_another(url, dialect, choice, packages, install=False)
    if other and not named:
        return Finding("bad-url", title, f"{scheme}://", notes=notes, remedies=(*other, install))
    return Finding("missing-module", title, module, notes=notes, remedies=(install, *other))


def _sqlite_host(url: str, packages: Packages) -> Finding:
    scheme, _, rest = url.strip().partition("://")
    title = f"{packages.named} takes what follows sqlite:// for a host; a file stands after three slashes"
    fix = Remedy("write it like this", without_secret(f"{scheme}:///{rest}"), "edit")
    return Finding("bad-url", title, "sqlite://", notes=(_runs_with(packages),), remedies=(fix,))


def _refused_option(url: str, driver: str) -> Finding | None:
    pairs = parse_qsl(url.partition("?")[2], keep_blank_values=True)
    wrong = [key for key, _ in pairs if key in _REFUSED.get(driver, ())]
    given = dict(pairs)
    if not wrong and not (driver == "asyncpg" and given.get("ssl", "disable") not in _SSL_OF_ASYNCPG):
        return None
    fixed = _corrected_query(url, driver)
    if wrong:
        names = " and ".join(dict.fromkeys(wrong))
        title = f"{driver} does not take {names} in the database URL"
        note = f"SQLAlchemy hands it on as an argument of {driver}.connect(), which is a TypeError"
    else:
        names, title = "ssl", f"{driver} does not take ssl={given['ssl']} in the database URL"
        note = f"it takes {', '.join(_SSL_OF_ASYNCPG)}"
    fix = Remedy("write it like this", without_secret(fixed), "edit")
    return Finding("bad-url", title, names, notes=(note,), remedies=(fix,))


def _corrected_query(url: str, driver: str) -> str:
    """Spell what asyncpg has under another name, and leave out what the driver has not."""
    base, _, query = url.partition("?")
    kept = []
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if driver == "asyncpg" and key in {"sslmode", "ssl"}:
            value = {"true": "require", "1": "require", "false": "disable", "0": "disable"}.get(value, value)
            kept.append(f"ssl={value if value in _SSL_OF_ASYNCPG else 'require'}")
        elif key not in _REFUSED.get(driver, ()):
            kept.append(part)
    return f"{base}?{'&'.join(dict.fromkeys(kept))}" if kept else base


def _with_another(
    url: str,
    dialect: str,
    choice: Mapping[str, tuple[str, ...]],
    packages: Packages,
    *,
    install: bool = True,
) -> tuple[Remedy, ...]:
    """Propose a driver that is installed, else to install the usual one."""
    for driver in choice.get(dialect, ()):
        module, distribution = _DRIVERS[dialect][driver]
        if not distribution or packages.has_module(module):
            scheme = dialect if driver == "pysqlite" else f"{dialect}+{driver}"
            fixed = _corrected_query(_with_scheme(url, scheme), driver)
            return (Remedy(f"name {driver}, which is installed", without_secret(fixed), "edit"),)
    if not install or dialect not in choice:
        return ()
    driver = choice[dialect][0]
    distribution = _DRIVERS[dialect][driver][1]
    return (
        Remedy(f"install {driver}", f"{_quoted(packages.python)} -m pip install {_quoted(distribution)}"),
        Remedy("and name it", without_secret(_with_scheme(url, f"{dialect}+{driver}")), "edit"),
    )


def _with_scheme(url: str, scheme: str) -> str:
    return f"{scheme}://{url.strip().partition('://')[2]}"


def _runs_with(packages: Packages) -> str:
    return f"the backend runs with {packages.python}"


def _quoted(word: str) -> str:
    from shlex import quote

    return quote(word)
