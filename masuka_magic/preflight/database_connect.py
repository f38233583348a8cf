"""Open one connection to PostgreSQL, ask it one question, close it: the edge to libpq.

libpq (psycopg2) says in one line what the backend's traceback will say in sixty. The connection is opened
without blocking, so that the limit is for all addresses together and an interrupt ends it; names are looked
up here, because psycopg2 holds the interpreter's lock while libpq asks a name server. Decides nothing: what
was seen is returned as an Attempt.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from masuka_magic.preflight.addresses import look_up

if TYPE_CHECKING:
    import threading

    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in small letters

    from masuka_magic.diagnosis.postgres_url import PostgresUrl

#: How late an interrupt may be noticed while the server is silent.
_CANCEL_GAP_S = 0.05

# One round trip where all is well. What others hold: of their connections everybody may see pid, database and
# role, the rest their owner alone. (The view pg_stat_activity says the same, and takes twice as long to plan.)
_QUESTION = """
SELECT current_schema() AS schema,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
       has_database_privilege(d.oid, 'CREATE') AS may_create_schema,
       current_setting('transaction_read_only') = 'on' AS read_only,
       current_setting('max_connections')::int AS slots,
       current_setting('max_connections')::int - others.in_all - CASE WHEN r.rolsuper THEN 0 ELSE
         current_setting('superuser_reserved_connections')::int
         + CASE WHEN pg_has_role(r.oid, coalesce((SELECT oid FROM pg_roles
                                 WHERE rolname = 'pg_use_reserved_connections'), 10), 'USAGE')
           THEN 0 ELSE coalesce(current_setting('reserved_connections', true), '0')::int END END AS free,
       CASE WHEN r.rolconnlimit < 0 OR r.rolsuper THEN NULL ELSE r.rolconnlimit - others.of_role END
         AS free_of_role,
       CASE WHEN d.datconnlimit < 0 OR r.rolsuper THEN NULL ELSE d.datconnlimit - others.of_database END
         AS free_of_database
FROM pg_roles r, pg_database d,
     LATERAL (SELECT count(*) AS in_all,
                     count(*) FILTER (WHERE a.usesysid = r.oid) AS of_role,
                     count(*) FILTER (WHERE a.datid = d.oid) AS of_database
              FROM pg_stat_get_activity(NULL) a
              WHERE a.datid IS NOT NULL AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()
                AND coalesce(a.backend_type, 'client backend') = 'client backend') others
WHERE r.rolname = session_user AND d.datname = current_database()
"""
# Asked where the role may not create tables. What an extension brought is not the application's.
_ANY_TABLE = """
SELECT EXISTS (
  SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e')) AS sees_tables
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server that let us in told of itself.

    `answers` are the columns of the question, None where it did not answer it, with its words in `unanswered`.
    """

    version: str
    by_password: bool
    answers: Mapping[str, Any] | None
    unanswered: str = ""
    question_s: float = 0.0


@dataclass(slots=True)
class Attempt:
    """One attempt, filled in as far as it came. `words` are libpq's where it failed, None on a success.

    `addresses` are what the hosts' names stand for; `peer` is the address that accepted the connection; `tls` is
    the protocol's version of the connection as it was last, None without.
    """

    addresses: tuple[str, ...] = ()
    names_s: float = 0.0
    peer: str | None = None
    peer_s: float = 0.0
    tls: str | None = None
    connected_s: float = 0.0
    facts: Facts | None = None
    words: str | None = None
    interrupted: bool = False
    keywords: dict[str, str] = field(default_factory=dict, repr=False)


def attempt(url: PostgresUrl, limit_s: float, cancelled: threading.Event) -> Attempt:
    """Connect, ask, close; the limit is for everything together.

    libpq's own `connect_timeout` is for each address and at least two seconds.
    """
    seen = Attempt()
    deadline = time.monotonic() + limit_s
    seen.keywords = url.keywords()
    if url.hosts and "hostaddr" not in seen.keywords:
        begun = time.monotonic()
        addressed = _look_up(url, limit_s, cancelled)
        seen.names_s = time.monotonic() - begun
        if cancelled.is_set():
            seen.interrupted = True
            return seen
        if isinstance(addressed, str):
            seen.words = addressed
            return seen
        seen.keywords.update(addressed)
        seen.addresses = tuple(address for address in addressed["hostaddr"].split(",") if address)
    _Conversation(url, seen, deadline, limit_s, cancelled).hold()
    return seen


class _Conversation:
    """One connection, from its first packet to its end."""

    def __init__(
        self, url: PostgresUrl, seen: Attempt, deadline: float, limit_s: float, cancelled: threading.Event
    ) -> None:
        self._url = url
        self._seen = seen
        self._deadline = deadline
        self._limit_s = limit_s
        self._cancelled = cancelled

    def hold(self) -> None:
        import psycopg2
        from psycopg2 import extensions

        seen = self._seen
        begun = time.monotonic()
        connection = None
        try:
            connection = psycopg2.connect(extensions.make_dsn(**seen.keywords), async_=True)
            if self._wait(connection, begun):
                seen.connected_s = time.monotonic() - begun
                seen.facts = self._ask(connection)
            elif not seen.interrupted:
                seen.words = _silent(self._url, self._limit_s)
        except psycopg2.Error as error:
            words = str(error).strip() or type(error).__name__
            seen.words = words if connection is None else _as_libpq_would_say(words, seen.keywords)
        finally:
            if connection is not None:
                connection.close()

    def _wait(self, connection: Connection, begun: float | None = None) -> bool:
        """Wait until libpq has nothing to wait for; False when the limit is over or the user interrupts."""
        from psycopg2 import extensions

        while (state := connection.poll()) != extensions.POLL_OK:
            left_s = self._deadline - time.monotonic()
            if self._cancelled.is_set():
                self._seen.interrupted = True
            if left_s <= 0 or self._seen.interrupted:
                return False
            ready = select.poll()  # A new one each time: libpq opens another socket for each address.
            ready.register(
                connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
            )
            ready.poll(min(_CANCEL_GAP_S, left_s) * 1000)
            if begun is not None and self._seen.peer is None:
                self._seen.peer = _peer(connection.fileno())
                self._seen.peer_s = time.monotonic() - begun
            if begun is not None:
                about = connection.info
                self._seen.tls = (about.ssl_attribute("protocol") or "TLS") if about.ssl_in_use else None
        return True

    def _ask(self, connection: Connection) -> Facts | None:
        import psycopg2

        version = (connection.get_parameter_status("server_version") or "of an unknown version").split()[0]
        by_password = bool(connection.info.used_password)
        begun = time.monotonic()
        try:
            answers = self._row(connection, _QUESTION)
            took_s = time.monotonic() - begun
            if answers is not None and not answers["may_create"]:
                more = self._row(connection, _ANY_TABLE)
                answers = None if more is None else {**answers, **more}
        except psycopg2.Error as error:  # Another server that speaks the protocol: a pooler, a CockroachDB.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Facts(version, by_password, None, lines[0])
        return None if self._seen.interrupted else Facts(version, by_password, answers, "no answer", took_s)

    def _row(self, connection: Connection, question: str) -> dict[str, Any] | None:
        """Return the first row by the names of its columns; None where none comes."""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(question)
            if not self._wait(connection):
                return None
            row = cursor.fetchone()
            names = [column.name for column in cursor.description or ()]
        return None if row is None else dict(zip(names, row, strict=True))


def _peer(descriptor: int) -> str | None:
    """Return who accepted the connection, None while nobody has."""
    with socket.socket(fileno=os.dup(descriptor)) as one:
        try:
            name = one.getpeername()
        except OSError:
            return None
    return str(name[0]) if isinstance(name, tuple) else str(name)


def _look_up(url: PostgresUrl, limit_s: float, cancelled: threading.Event) -> dict[str, str] | str:
    """Put an address beside each host, so that libpq asks no name server; its words where none is found."""
    rows: list[tuple[str, str, str]] = []
    unknown: list[str] = []
    for host, port in zip(url.hosts, url.ports, strict=True):
        if not host or host.startswith(("/", "@")):
            rows.append((host, "", port))
            continue
        found = look_up(host, limit_s, cancelled)
        if isinstance(found, str):
            unknown.append(f'could not translate host name "{host}" to address: {found}')
        else:
            rows += [(host, address, port) for address in found]
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
