"""Name what a PostgreSQL server or its client library says about a connection that failed.

Pure: words in, one finding out. The words are libpq's (psycopg2 and psycopg; since PostgreSQL 14 they begin
with `connection to server at`, before that with `could not connect to server`) and the server's own (its
`FATAL:` messages, which asyncpg and pg8000 pass on). Words that no rule knows are shown as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.diagnosis.postgres_privileges import may_not_create, may_not_use
from masuka_magic.diagnosis.postgres_remedies import (
    is_local,
    quote_name,
    run_sql,
    start_server,
    write_url,
)
from masuka_magic.diagnosis.postgres_words import ATTEMPT, line_at, place_of, visible

if TYPE_CHECKING:
    from masuka_magic.diagnosis.machine import Machine
    from masuka_magic.diagnosis.postgres_url import PostgresUrl

#: What only time heals.
WAIT = Remedy("wait a moment and start again", kind="wait", safe=True)

_SPOKEN = re.compile(
    r"connection to server |could not connect to server|connection failed: |FATAL: |fe_sendauth"
)


@dataclass(frozen=True, slots=True)
class _Case:
    """What a rule sees: the whole message, the line it matched, and where that happened."""

    message: str
    line: str
    where: str
    host: str
    url: PostgresUrl | None
    here: Machine

    @property
    def role(self) -> str | None:
        return self.url.user if self.url else None

    def finding(self, code: str, title: str, culprit: str, *notes: str, fix: tuple[Remedy, ...]) -> Finding:
        """Make the finding with the line as evidence; what does not print is made visible."""
        return Finding(code, visible(title), visible(culprit), _evidence(self.line), notes, fix)

    def sql(self, text: str, statement: str) -> Remedy:
        return run_sql(text, statement, self.url, self.here)


_Rule = Callable[[_Case, "re.Match[str]"], Finding]
_RULES: list[tuple[re.Pattern[str], _Rule]] = []


def diagnose_postgres(message: str, *, url_parts: PostgresUrl | None, here: Machine) -> Finding | None:
    """Name the cause of a failed connection from the words of libpq or the server.

    None where the text does not speak of a PostgreSQL connection. `url_parts` is the URL that was used, where
    it is known. libpq tries every address of a host: a server that answered outranks an address that refused,
    and addresses that all refused are one cause.
    """
    for pattern, rule in _RULES:
        match = pattern.search(message)
        if match:
            line = line_at(message, match.start())
            where, host = place_of(message, line, url_parts)
            return rule(_Case(message, line, where, host, url_parts, here), match)
    return own_words(message, url_parts) if _SPOKEN.search(message) else None


def own_words(message: str, url: PostgresUrl | None) -> Finding:
    """Make an `unknown` finding of a message that no rule knows: its last line that says something."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["no words"]
    line = next((line for line in lines if "FATAL:" in line or " failed: " in line), lines[0])
    where, _ = place_of(message, line, url)
    words = re.sub(r"^.*(?:FATAL|ERROR):\s*|^.* failed: ", "", line)
    title = f"the connection to PostgreSQL at {where} failed: {words}"
    return Finding("unknown", visible(title), visible(where), tuple(_each_evidence(lines)))


def _rule(pattern: str) -> Callable[[_Rule], _Rule]:
    """Add a rule to the table. The first that matches wins: an answer stands before a refusal."""

    def add(rule: _Rule) -> _Rule:
        _RULES.append((re.compile(pattern), rule))
        return rule

    return add


@_rule(
    r"the database system is (starting up|shutting down|in recovery mode|not (?:yet )?accepting connections)"
)
def _starting_up(case: _Case, match: re.Match[str]) -> Finding:
    title = f"PostgreSQL at {case.where} is {match[1]}"
    return case.finding(
        "pg-starting-up", title, case.where, "it heals with time, no setting is wrong", fix=(WAIT,)
    )


@_rule(
    r"sorry, too many clients already|remaining connection slots are reserved"
    r'|too many connections for (role|database) "(.*?)"'
)
def _slots(case: _Case, match: re.Match[str]) -> Finding:
    kind, name = match[1], match[2]
    listing = "SELECT pid, usename, datname, state, application_name FROM pg_stat_activity"
    look = case.sql("see who holds them", listing)
    note = "each worker and each kernel that still runs holds its own pool of connections"
    if kind:
        title = f"all connections that {kind} {name} may have at {case.where} are taken"
        limit = case.sql("or lift the limit", f"ALTER {kind.upper()} {quote_name(name)} CONNECTION LIMIT -1")
        return case.finding("pg-too-many-connections", title, name, note, fix=(look, limit))
    title = f"all connection slots of PostgreSQL at {case.where} are taken"
    if match[0].startswith("remaining"):
        title += ", but for those reserved for superusers"
    raise_limit = case.sql(
        "or allow more, after a restart of the server", "ALTER SYSTEM SET max_connections = 200"
    )
    return case.finding("pg-too-many-connections", title, case.where, note, fix=(look, raise_limit))


@_rule(r'password authentication failed for user "(.*?)"')
def _wrong_password(case: _Case, match: re.Match[str]) -> Finding:
    role = quote_name(match[1])
    return case.finding(
        "pg-auth",
        f"PostgreSQL at {case.where} rejected role {match[1]} with this password",
        match[1],
        "the server does not say which: a role that does not exist is answered in the same words",
        fix=(
            case.sql("give the role the password of the URL", f"ALTER ROLE {role} PASSWORD '…'"),
            case.sql("or create the role", f"CREATE ROLE {role} LOGIN PASSWORD '…'"),
        ),
    )


@_rule(r"fe_sendauth: no password supplied")
def _no_password(case: _Case, _match: re.Match[str]) -> Finding:
    role = case.role or "the role"
    title = f"the database URL gives no password, and PostgreSQL at {case.where} asks {role} for one"
    return case.finding("pg-auth", title, role, fix=(write_url("put it into the URL", case.url),))


@_rule(r'(?i)(peer|ident) authentication failed for user "(.*?)"')
def _peer(case: _Case, match: re.Match[str]) -> Finding:
    kind, role = match[1].lower(), match[2]
    return case.finding(
        "pg-peer",
        f"PostgreSQL at {case.where} lets role {role} in only for the system's user of that name ({kind})",
        role,
        "no password is looked at this way: changing it does nothing",
        fix=(write_url("connect over TCP, with a password", case.url, host="127.0.0.1"),),
    )


@_rule(r'role "(.*?)" is not permitted to log in')
def _no_login(case: _Case, match: re.Match[str]) -> Finding:
    title = f"role {match[1]} is not permitted to log in to PostgreSQL at {case.where}"
    fix = case.sql("permit it", f"ALTER ROLE {quote_name(match[1])} LOGIN")
    return case.finding("pg-privilege", title, match[1], fix=(fix,))


@_rule(r'permission denied for database "?([^"\n]*)"?')
def _no_connect(case: _Case, match: re.Match[str]) -> Finding:
    role = case.role or "the role"
    title = f"{role} may not connect to database {match[1]} at {case.where}"
    grant = f"GRANT CONNECT ON DATABASE {quote_name(match[1])} TO {quote_name(case.role or 'role')}"
    return case.finding("pg-privilege", title, match[1], fix=(case.sql("permit it", grant),))


@_rule(r'(?m)permission denied for schema "?([^"\n]+?)"?$|no schema has been selected to create in')
def _schema(case: _Case, match: re.Match[str]) -> Finding:
    create = match[1] is None or re.search(r"CREATE\s", case.message)
    said = (may_not_create if create else may_not_use)(match[1], url=case.url, here=case.here)
    return replace(said, evidence=_evidence(case.line))


@_rule(r'role "(.*?)" does not exist')
def _no_role(case: _Case, match: re.Match[str]) -> Finding:
    unnamed = ("the URL names no role, so the name of the system's user is taken",)
    notes = unnamed if case.url and case.url.user is None else ()
    return case.finding(
        "pg-no-role",
        f"PostgreSQL at {case.where} has no role {match[1]}",
        match[1],
        *notes,
        fix=(case.sql("create it", f"CREATE ROLE {quote_name(match[1])} LOGIN PASSWORD '…'"),),
    )


@_rule(r'database "(.*?)" does not exist')
def _no_database(case: _Case, match: re.Match[str]) -> Finding:
    owner = f" OWNER {quote_name(case.role)}" if case.role else ""
    return case.finding(
        "pg-no-database",
        f"PostgreSQL at {case.where} has no database {match[1]}",
        match[1],
        "the server and the login are fine",
        fix=(case.sql("create it", f"CREATE DATABASE {quote_name(match[1])}{owner}"),),
    )


@_rule(r"server does not support SSL, but SSL was required")
def _ssl_absent(case: _Case, _match: re.Match[str]) -> Finding:
    title = f"the database URL requires TLS, and PostgreSQL at {case.where} does not offer it"
    fix = write_url("connect without it", case.url, option=_ssl_option(case, "disable"))
    return case.finding("pg-ssl", title, "sslmode", fix=(fix,))


@_rule(
    r'pg_hba\.conf rejects connection|no pg_hba\.conf entry for host "(?P<from>.*?)", user "(?P<role>.*?)"'
)
def _no_entry(case: _Case, _match: re.Match[str]) -> Finding:
    role = case.role or "the role"
    if re.search(r"SSL off|no encryption", case.message) and not re.search(
        r"SSL on|SSL encryption", case.message
    ):
        title = f"PostgreSQL at {case.where} does not let {role} in without TLS"
        note = (
            "pg_hba.conf of the server may also lack an entry for this role, database and address altogether"
        )
        require = write_url("connect with TLS", case.url, option=_ssl_option(case, "require"))
        return case.finding("pg-ssl", title, "sslmode", note, fix=(require,))
    title = f"no entry of pg_hba.conf lets {role} into PostgreSQL at {case.where}"
    fix = Remedy("add a line for this role, database and address to the server's pg_hba.conf and reload it")
    return case.finding("pg-hba", title, role, fix=(fix,))


@_rule(
    r"certificate verify failed|root certificate file .* does not exist"
    r"|server certificate for .* does not match host name"
)
def _certificate(case: _Case, match: re.Match[str]) -> Finding:
    title = f"the certificate of PostgreSQL at {case.where} cannot be verified: {match[0]}"
    fix = Remedy("name the authority's certificate in the URL", "sslrootcert=/path/to/ca.crt", "edit")
    return case.finding("pg-ssl", title, "sslrootcert", fix=(fix,))


@_rule(r"received invalid response to (?:SSL|GSSAPI) negotiation|expected authentication request from server")
def _other_protocol(case: _Case, _match: re.Match[str]) -> Finding:
    title = f"the server at {case.where} does not speak PostgreSQL's protocol"
    fix = write_url("name PostgreSQL's own port in the URL", case.url)
    return case.finding("pg-not-postgres", title, case.where, fix=(fix,))


@_rule(
    r"(?:invalid (?:connection option|URI query parameter|sslmode value|port number)|invalid integer value).*"
)
def _bad_option(case: _Case, match: re.Match[str]) -> Finding:
    name = re.search(r'"([\w.-]*)"', match[0])
    title = f"libpq cannot read the database URL: {match[0]}"
    fix = Remedy("correct or leave out the option in the URL's query")
    return case.finding("bad-url", title, name[1] if name else "database URL", fix=(fix,))


@_rule(r'could not translate host name "(?P<name>[^"]*)" to address: (?P<why>[^\n]*)')
def _unknown_host(case: _Case, match: re.Match[str]) -> Finding:
    name = match["name"]
    if re.search(r"[@/?#:]", name):
        # What stands there is a piece of the password: it is not shown, not even as evidence.
        title = "the database URL is cut in the wrong place: what is taken for its host holds @, /, ? or :"
        note = "a password ends at the first @; what follows is taken for the host"
        fix = write_url("percent-escape the password: @ as %40, / as %2F, : as %3A", None)
        return Finding("bad-url", title, "password in the database URL", (), (note,), (fix,))
    notes = ["a name without a dot is often a service of Docker Compose, known only in its network"]
    if "." in name:
        notes = ["no name server answered"] if "emporary failure" in match["why"] else []
    fix = write_url("where PostgreSQL runs on this machine", case.url, host="127.0.0.1")
    title = f"the database host {name} cannot be found: {match['why']}"
    return case.finding("pg-dns", title, name, *notes, fix=(fix,))


@_rule(r"(?:failed|connect to server): Connection refused|Can't create a connection to host")
def _refused(case: _Case, _match: re.Match[str]) -> Finding:
    addresses = sorted({match["address"] for match in ATTEMPT.finditer(case.message) if match["address"]})
    notes = (f"refused at {' and '.join(addresses)}: nothing listens there",) if len(addresses) > 1 else ()
    title = f"PostgreSQL refused the connection at {case.where}"
    return case.finding("pg-refused", title, case.where, *notes, fix=_start(case))


@_rule(r'server on socket ".*" failed: (No such file or directory)|domain socket ".*"')
def _no_socket(case: _Case, _match: re.Match[str]) -> Finding:
    title = f"no PostgreSQL server listens on the socket {case.where}"
    note = ("the URL names no host, so the local socket is tried",) if case.url and not case.url.hosts else ()
    over_tcp = write_url("or name the server's address in the URL", case.url, host="127.0.0.1")
    return case.finding("pg-refused", title, case.where, *note, fix=(*_start(case), over_tcp))


@_rule(
    r"(?:failed|connect to server): (timeout expired|.* timed out|No route to host|Network is unreachable)"
)
def _unreachable(case: _Case, match: re.Match[str]) -> Finding:
    title = f"no answer from PostgreSQL at {case.where}: {match[1]}"
    note = "a machine that is up refuses at once; silence is a firewall or a wrong address"
    return case.finding(
        "pg-unreachable", title, case.where, note, fix=(Remedy("correct the host in the URL"),)
    )


def _start(case: _Case) -> tuple[Remedy, ...]:
    if is_local(case.host):
        return (start_server(case.here),)
    return (Remedy(f"start PostgreSQL on {visible(case.host)}, or correct the host in the URL"),)


def _ssl_option(case: _Case, mode: str) -> str:
    """Write libpq's `sslmode` as the URL's driver spells it."""
    return f"{'ssl' if case.url and case.url.driver == 'asyncpg' else 'sslmode'}={mode}"


def _evidence(line: str) -> tuple[EvidenceLine, ...]:
    return tuple(_each_evidence([line]))


def _each_evidence(lines: list[str]) -> Iterator[EvidenceLine]:
    for line in lines:
        yield EvidenceLine("database", None, visible(line))
