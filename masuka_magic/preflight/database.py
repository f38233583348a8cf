"""Check the database that the backend will use: server up, role, password, database.

The connection is made with libpq (psycopg2), which says in one line what the backend's traceback will say in
sixty. It is opened without blocking, so that the limit is for all addresses together and an interrupt ends
it; names are looked up here, because psycopg2 holds the interpreter's lock while libpq asks a name server.
Only what time heals is tried again: a server that is starting up, connection slots that are taken.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.postgres import diagnose_postgres, own_words
from masuka_magic.diagnosis.postgres_url import PostgresUrl, dialect_of, parse_postgres_url
from masuka_magic.preflight.check import CheckContext, CheckResult
from masuka_magic.preflight.here import this_machine

if TYPE_CHECKING:
    import threading

    from masuka_magic.config import Database
    from masuka_magic.diagnosis.findings import Finding
    from masuka_magic.diagnosis.machine import Machine

#: How late an interrupt may be noticed while the server is silent.
_CANCEL_GAP_S = 0.05
_RETRY_GAPS_S = (0.1, 0.25)

# libpq takes these from the environment, and the backend's environment is not the kernel's alone.
_ENVIRONMENT = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGPASSFILE": "passfile",
}
_ENVIRONMENT_OPTIONS = ("sslmode", "sslrootcert", "passfile")


class DatabaseCheck:
    """Connect once and close. `connect_s` limits one attempt in all; a server that is starting up is given
    `starting_up_s`, one whose connection slots are taken `slots_s`.
    """

    name = "database"
    requires: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        connect_s: float = 5.0,
        starting_up_s: float = 30.0,
        slots_s: float = 5.0,
        machine: Callable[[], Machine] = this_machine,
    ) -> None:
        self._connect_s = connect_s
        self._patience_s = {"pg-starting-up": starting_up_s, "pg-too-many-connections": slots_s}
        self._machine = machine

    def run(self, context: CheckContext) -> CheckResult:
        database = context.config.database
        if database is None:
            return CheckResult("skip", "none configured")
        dialect = dialect_of(database.url)
        if dialect not in ("postgresql", "postgres", ""):
            return CheckResult("skip", f"{dialect}: only PostgreSQL is checked")
        url = parse_postgres_url(database.url)
        if not isinstance(url, PostgresUrl):
            return _failed(url, database)
        try:
            import psycopg2  # noqa: F401 - asked for here: without it nothing can be said about the database
        except ImportError as error:
            return CheckResult("warn", f"not checked: psycopg2 cannot be imported ({error})")
        return self._until_it_is_decided(context, database, with_environment(url, context.config.env))

    def _until_it_is_decided(
        self, context: CheckContext, database: Database, url: PostgresUrl
    ) -> CheckResult:
        begun = time.monotonic()
        attempt = said = 0
        while True:
            answer = _connect(url, self._connect_s, context.cancelled)
            if answer is None:
                return CheckResult("skip", "interrupted")
            if isinstance(answer, _Connected):
                hidden = f" (hides another URL in {database.hidden})" if database.hidden else ""
                return CheckResult("pass", f"PostgreSQL {answer.version}, {url.shown}{hidden}")
            finding = diagnose_postgres(answer, url_parts=url, here=self._machine()) or own_words(answer, url)
            waited_s = time.monotonic() - begun
            if waited_s >= self._patience_s.get(finding.code, 0.0):
                note = f"waited {waited_s:.0f} s for it" if attempt else None
                return _failed(finding, database, note)
            if attempt == 0 or int(waited_s) > said:
                said = int(waited_s)
                context.progress(_waiting_for(finding, said))
            if context.cancelled.wait(_RETRY_GAPS_S[min(attempt, len(_RETRY_GAPS_S) - 1)]):
                return CheckResult("skip", "interrupted")
            attempt += 1


class _Connected:
    """A server that let us in, and the version that it told."""

    def __init__(self, version: str) -> None:
        self.version = version


def _connect(url: PostgresUrl, limit_s: float, cancelled: threading.Event) -> _Connected | str | None:
    """Open and close one connection; return libpq's words where it fails, None on an interrupt.

    libpq's own `connect_timeout` is for each address and at least two seconds; this one is for all of them.
    """
    import psycopg2
    from psycopg2 import extensions

    keywords = url.keywords()
    if url.hosts and "hostaddr" not in keywords:
        addressed = _look_up(url)
        if isinstance(addressed, str):
            return addressed
        keywords.update(addressed)
    deadline = time.monotonic() + limit_s
    connection = None
    try:
        connection = psycopg2.connect(extensions.make_dsn(**keywords), async_=True)
        while (state := connection.poll()) != extensions.POLL_OK:
            left_s = deadline - time.monotonic()
            if cancelled.is_set():
                return None
            if left_s <= 0:
                return _silent(url, limit_s)
            ready = select.poll()  # A new one each time: libpq opens another socket for each address.
            ready.register(
                connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
            )
            ready.poll(min(_CANCEL_GAP_S, left_s) * 1000)
        version = connection.get_parameter_status("server_version") or "of an unknown version"
        return _Connected(version.split()[0])
    except psycopg2.Error as error:
        words = str(error).strip() or type(error).__name__
        return words if connection is None else _as_libpq_would_say(words, keywords)
    finally:
        if connection is not None:
            connection.close()


def _look_up(url: PostgresUrl) -> dict[str, str] | str:
    """Put an address beside each host, so that libpq asks no name server; its words where none is found."""
    rows: list[tuple[str, str, str]] = []
    unknown: list[str] = []
    for host, port in zip(url.hosts, url.ports, strict=True):
        if not host or host.startswith(("/", "@")):
            rows.append((host, "", port))
            continue
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            words = (isinstance(error, OSError) and error.strerror) or "not a host name"
            unknown.append(f'could not translate host name "{host}" to address: {words}')
            continue
        rows += [(host, str(address[0]), port) for *_, address in found]
    if not rows:
        return "\n".join(unknown)
    hosts, addresses, ports = (",".join(column) for column in zip(*rows, strict=True))
    return {"host": hosts, "hostaddr": addresses, "port": ports}


def _as_libpq_would_say(words: str, keywords: Mapping[str, str]) -> str:
    """Give a message the form that it has when libpq looks up the names itself.

    It shows an address given to it without the name; and PQsetnonblocking, which psycopg2 calls in between, cuts
    off the words before the first address.
    """
    rows = [keywords.get(key, "").split(",") for key in ("host", "hostaddr", "port")]
    if not words.startswith("connection to server") and rows[1][0]:
        words = f'connection to server at "{rows[1][0]}", port {rows[2][0] or "5432"} failed: {words}'
    for host, address, _ in zip(*rows, strict=True):
        if address and host != address:
            words = words.replace(f'server at "{address}", port', f'server at "{host}" ({address}), port')
    return words


def _silent(url: PostgresUrl, limit_s: float) -> str:
    """Say a timeout in the words that libpq has for its own."""
    host, port = (url.hosts[0], url.ports[0] or "5432") if url.hosts else ("", "5432")
    return f'connection to server at "{host}", port {port} failed: timeout expired ({limit_s:g} s)'


def with_environment(url: PostgresUrl, env: Mapping[str, str]) -> PostgresUrl:
    """Fill in what the URL leaves open from the variables that libpq would read in the backend's environment.

    `env` is what the start adds to this process's environment.
    """
    both = {**os.environ, **env}
    said = {keyword: both[name] for name, keyword in _ENVIRONMENT.items() if both.get(name)}
    hosts, ports = said.pop("host", ""), said.pop("port", "")
    if not url.hosts and hosts:
        named = tuple(hosts.split(","))
        numbers = tuple(ports.split(","))
        url = replace(
            url, hosts=named, ports=numbers if len(numbers) == len(named) else numbers[:1] * len(named)
        )
    elif ports and not any(url.ports):
        url = replace(url, hosts=url.hosts or ("",), ports=(ports,) * max(1, len(url.hosts)))
    return replace(
        url,
        user=url.user or said.pop("user", None),
        password=url.password or said.pop("password", None),
        database=url.database or said.pop("dbname", None),
        options={**{key: value for key, value in said.items() if key in _ENVIRONMENT_OPTIONS}, **url.options},
    )


def _waiting_for(finding: Finding, waited_s: int) -> str:
    what = finding.title.replace(f" at {finding.culprit}", "")
    return f"{what}, waiting {waited_s} s" if waited_s else f"{what}, waiting"


def _failed(finding: Finding, database: Database, note: str | None = None) -> CheckResult:
    """Fail with the finding, and say where the URL at fault stands."""
    source = "the key `database`" if database.source == "database" else database.source
    place = f"the URL comes from {source}"
    if database.hidden:
        place += f", which hides another one in {database.hidden}"
    notes = (*finding.notes, *([note] if note else []), place)
    return CheckResult("fail", finding.title, replace(finding, notes=notes))
