"""Look whether a database other than PostgreSQL and SQLite can be reached: a name, a port, nothing more.

No protocol is spoken: a login is not tried, and that is said.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.diagnosis.postgres_words import visible
from masuka_magic.preflight.addresses import look_up, open_connection, words_of
from masuka_magic.preflight.check import CheckLayer, CheckResult

if TYPE_CHECKING:
    import threading

LIMIT_S = 2.0

#: The ports that each server listens on unless it is told otherwise, from its own documentation.
_PORTS = {
    "mysql": 3306,
    "mariadb": 3306,
    "mssql": 1433,
    "oracle": 1521,
    "mongodb": 27017,
    "cockroachdb": 26257,
    "redshift": 5439,
    "clickhouse": 8123,
    "clickhousedb": 8123,
    "neo4j": 7687,
    "bolt": 7687,
    "redis": 6379,
    "couchdb": 5984,
    "firebird": 3050,
    "ibm_db_sa": 50000,
    "db2": 50000,
    "trino": 8080,
    "presto": 8080,
}
_NAMES = {"mysql": "MySQL", "mariadb": "MariaDB", "mssql": "SQL Server", "mongodb": "MongoDB"}


def check_other(url: str, dialect: str, cancelled: threading.Event) -> CheckResult:
    """Reach the server's port within two seconds; skip where the URL does not say where it is."""
    name = _NAMES.get(dialect, dialect)
    place = _place(url, dialect)
    if place is None:
        return CheckResult("skip", f"{name}: the URL names no host and port to look at")
    hosts, socket_path = place
    if socket_path is not None:
        hosts = [(socket_path, 0)]
    begun = time.monotonic()
    wrong: Finding | None = None
    layers: tuple[CheckLayer, ...] = ()
    for host, port in hosts:  # A replica set names several: one that answers is enough.
        shown = host if not port else f"{f'[{host}]' if ':' in host else host}:{port}"
        left_s = LIMIT_S - (time.monotonic() - begun)
        found = (host,) if not port else look_up(host, max(left_s, 0.01), cancelled)
        if cancelled.is_set():
            return CheckResult("skip", "interrupted")
        if isinstance(found, str):
            wrong = wrong or finding(
                "database-dns", f"the database host {host} cannot be found: {found}", host
            )
            layers = layers or (CheckLayer("name", "fail", found), CheckLayer("TCP", "skip", "needs name"))
            continue
        named = CheckLayer("name", "pass", f"{host} is {' and '.join(found)}")
        asked = time.monotonic()
        try:
            open_connection(found, port, begun + LIMIT_S).close()
        except OSError as error:
            refusal, failed = _refusal(name, shown, error)
            wrong, layers = wrong or refusal, layers or (named, failed)
            continue
        took_s = time.monotonic() - asked
        text = f"{name} listens at {shown}; a login was not tried"
        reached = CheckLayer("TCP", "pass", f"connected to {shown}", took_s)
        return CheckResult("pass", visible(text), layers=(named, reached))
    return CheckResult("fail", wrong.title if wrong else "no answer", wrong, layers=layers)


def _refusal(name: str, shown: str, error: OSError) -> tuple[Finding, CheckLayer]:
    words = words_of(error)
    failed = CheckLayer("TCP", "fail", words)
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        title = f"{name} refused the connection at {shown}"
        return finding("database-refused", title, shown, words), failed
    title = f"no answer from {name} at {shown}: {words}"
    return finding("database-unreachable", title, shown, words), failed


def finding(code: str, title: str, culprit: str, words: str | None = None) -> Finding:
    """Make a finding whose evidence is what the system said."""
    evidence = (EvidenceLine("database", None, words),) if words else ()
    if code == "database-refused":
        fix = Remedy(f"start the server at {visible(culprit)}, or correct the host and the port in the URL")
    else:
        fix = Remedy("correct the host in the URL")
    return Finding(code, visible(title), visible(culprit), evidence, remedies=(fix,))


def _place(url: str, dialect: str) -> tuple[list[tuple[str, int]], str | None] | None:
    """Read hosts and ports, or the path of a Unix socket; None where the URL does not say."""
    scheme, _, rest = url.strip().partition("://")
    authority, _, tail = rest.partition("/")
    query = parse_qs(tail.partition("?")[2] or authority.partition("?")[2])
    if "unix_socket" in query:
        return [], query["unix_socket"][0]
    if scheme.endswith("+srv"):  # The hosts stand in a record of the name server's.
        return None
    usual = _PORTS.get(dialect)
    hosts: list[tuple[str, int]] = []
    for piece in authority.partition("?")[0].rpartition("@")[2].split(","):
        try:
            parts = urlsplit(f"//{piece}")
            host, port = unquote(parts.hostname or ""), parts.port or usual
        except ValueError:
            return None
        if host.startswith("/"):
            return [], host
        if host and port:
            hosts.append((host, port))
    return (hosts, None) if hosts else None
