"""Sort what one connection to PostgreSQL showed into layers, each with its own verdict. Pure.

From below: the URL, the host's name, TCP, the server, TLS, authentication, the database, privileges,
connection slots. A layer above one that failed is skipped, since nothing is known of it.

Privileges: a role that may not create tables is a warning where it has tables to read, or may make a schema
of its own: `create_all` leaves tables that exist alone, and there are backends that only read. Where it has
neither, everything that the backend would do with its database fails, and so does the check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.diagnosis.postgres_privileges import may_not_create
from masuka_magic.diagnosis.postgres_remedies import quote_name, run_sql
from masuka_magic.preflight.check import CheckLayer, Verdict

if TYPE_CHECKING:
    from masuka_magic.diagnosis.machine import Machine
    from masuka_magic.diagnosis.postgres_url import PostgresUrl
    from masuka_magic.preflight.database_connect import Attempt, Facts

URL, NAME, TCP, SERVER, TLS = "url", "name", "TCP", "server", "TLS"
AUTHENTICATION, DATABASE, PRIVILEGES, SLOTS = "authentication", "database", "privileges", "connection slots"
LAYERS = (URL, NAME, TCP, SERVER, TLS, AUTHENTICATION, DATABASE, PRIVILEGES, SLOTS)
#: The connections that a pool of SQLAlchemy's keeps (sqlalchemy/pool/impl.py, QueuePool, pool_size).
POOL_SIZE = 5

_BY_CODE = {
    "bad-url": URL,
    "missing-module": URL,
    "pg-dns": NAME,
    "pg-refused": TCP,
    "pg-unreachable": TCP,
    "pg-not-postgres": SERVER,
    "pg-starting-up": SERVER,
    "pg-ssl": TLS,
    "pg-auth": AUTHENTICATION,
    "pg-peer": AUTHENTICATION,
    "pg-no-role": AUTHENTICATION,
    "pg-hba": AUTHENTICATION,
    "pg-privilege": AUTHENTICATION,
    "pg-no-database": DATABASE,
    "pg-too-many-connections": SLOTS,
}


def refused(finding: Finding, seen: Attempt | None, url: PostgresUrl | None) -> tuple[CheckLayer, ...]:
    """Return the layers of a connection that failed: passed, failed, and not reached."""
    failed = _failing_layer(finding, seen)
    # Slots are asked for before and after the role is proved, so nothing is known of what lies between.
    known = LAYERS.index(AUTHENTICATION if failed == SLOTS else failed)
    below = _below(seen, url)
    layers = [below[name] if name in below else CheckLayer(name, "pass", "") for name in LAYERS[:known]]
    failure = CheckLayer(failed, "fail", finding.title)
    missed = [_skipped(name, failed) for name in LAYERS[known:] if name != failed]
    return tuple(sorted([*layers, failure, *missed], key=lambda layer: LAYERS.index(layer.name)))


def accepted(
    seen: Attempt, facts: Facts, url: PostgresUrl, here: Machine
) -> tuple[tuple[CheckLayer, ...], tuple[Finding, ...]]:
    """Return the layers of a connection that was made, and what is wrong in them: warnings, or one failure."""
    below = _below(seen, url)
    server = f"PostgreSQL {facts.version}"
    if facts.answers is not None:
        server += f", answers in {facts.question_s * 1000:.1f} ms"
    proof = "by password" if facts.by_password else "no password was asked for"
    layers = [
        *(below[name] for name in (URL, NAME, TCP)),
        CheckLayer(SERVER, "pass", server, facts.question_s),
        below[TLS],
        CheckLayer(
            AUTHENTICATION, "pass", f"role {url.user or 'of the system user'}, {proof}", seen.connected_s
        ),
        CheckLayer(DATABASE, "pass", url.database or url.user or "of the role's name"),
    ]
    if facts.answers is None:
        why = f"the server did not say: {facts.unanswered}"
        return (*layers, CheckLayer(PRIVILEGES, "skip", why), CheckLayer(SLOTS, "skip", why)), ()
    privileges, not_allowed = _privileges(facts.answers, url, here)
    slots, too_few = _slots(facts.answers, url, here)
    findings = [finding for finding in (not_allowed, too_few) if finding is not None]
    return (*layers, privileges, slots), tuple(findings)


def _failing_layer(finding: Finding, seen: Attempt | None) -> str:
    reached = seen is not None and seen.peer is not None
    layer = _BY_CODE.get(finding.code, AUTHENTICATION if reached else TCP)
    if layer == TCP and reached:
        return SERVER  # It accepted the connection, and then said nothing.
    if finding.code == "pg-privilege" and "connect to database" in finding.title:
        return DATABASE
    return layer


def _below(seen: Attempt | None, url: PostgresUrl | None) -> dict[str, CheckLayer]:
    """Make the layers up to TLS as far as they are known to be well."""
    names = [host for host in (url.hosts if url else ()) if host and not host.startswith(("/", "@"))]
    addresses = seen.addresses if seen else ()
    if not names:
        name = "none is needed: it is a socket of this machine"
    elif set(names) <= set(addresses):
        name = f"{', '.join(names)} is an address"
    else:
        name = f"{', '.join(names)} is {' and '.join(dict.fromkeys(addresses))}"
    port = next((port for port in (url.ports if url else ()) if port), "5432")
    peer = seen.peer if seen else None
    # A Unix socket that was reached by a path tells it; one without a name has none to show.
    place = "the local socket" if not peer else peer if peer.startswith("/") else f"{_bracketed(peer)}:{port}"
    return {
        URL: CheckLayer(URL, "pass", "it can be read"),
        NAME: CheckLayer(NAME, "pass", name, seen.names_s if seen else 0.0),
        TCP: CheckLayer(TCP, "pass", f"connected to {place}", seen.peer_s if seen else 0.0),
        SERVER: CheckLayer(SERVER, "pass", "it speaks PostgreSQL's protocol"),
        TLS: CheckLayer(TLS, "pass", _tls(seen) if seen else ""),
        AUTHENTICATION: CheckLayer(
            AUTHENTICATION, "pass", f"role {(url and url.user) or 'of the system user'}"
        ),
    }


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _skipped(name: str, failed: str) -> CheckLayer:
    what = {URL: "the URL", TCP: "a TCP connection", SERVER: "the server", SLOTS: "a connection slot"}
    return CheckLayer(name, "skip", f"needs {what.get(failed, failed)}")


def _tls(seen: Attempt) -> str:
    mode = seen.keywords.get("sslmode", "prefer")
    if seen.tls is not None:
        proved = (
            "its certificate is verified" if mode.startswith("verify") else "its certificate is not verified"
        )
        return f"{seen.tls}, {proved} (sslmode={mode})"
    if seen.peer is None or seen.peer.startswith("/") or not seen.addresses:
        return "none on a local socket"
    return f"none (sslmode={mode})" if mode in {"disable", "allow"} else "none: the server does not offer it"


def _privileges(
    answers: Mapping[str, Any], url: PostgresUrl, here: Machine
) -> tuple[CheckLayer, Finding | None]:
    schema = answers["schema"]
    if answers["read_only"]:
        text = "the server lets this role read only: it is a standby, or set so"
        return CheckLayer(PRIVILEGES, "warn", text), Finding("pg-privilege", text, url.user)
    if answers["may_create"]:
        return CheckLayer(PRIVILEGES, "pass", f"may create tables in schema {schema}"), None
    sees, may_add = answers.get("sees_tables"), answers["may_create_schema"]
    notes = (
        ["it can read tables that are there already"] if sees else ["there is no table that it could read"]
    )
    notes += ["it may create a schema of its own"] if may_add else []
    finding = may_not_create(schema, url=url, here=here, notes=tuple(notes))
    verdict: Verdict = "warn" if sees or may_add else "fail"
    return CheckLayer(PRIVILEGES, verdict, finding.title), finding


def _slots(answers: Mapping[str, Any], url: PostgresUrl, here: Machine) -> tuple[CheckLayer, Finding | None]:
    free, whose = min(
        (answers[key], whose)
        for key, whose in (("free", ""), ("free_of_role", "role"), ("free_of_database", "database"))
        if answers[key] is not None
    )
    free = max(0, free)
    if free >= POOL_SIZE:
        return CheckLayer(SLOTS, "pass", f"{free} of {answers['slots']} are free"), None
    held_by = {"": "", "role": " for this role", "database": " for this database"}[whose]
    title = (
        f"{free} connection slot{'' if free == 1 else 's'} of PostgreSQL {'is' if free == 1 else 'are'} left"
    )
    title += f"{held_by} at {url.place or 'the local socket'}"
    look = "SELECT pid, usename, datname, state, application_name FROM pg_stat_activity"
    fixes: tuple[Remedy, ...] = (run_sql("see who holds them", look, url, here),)
    limited = {"role": url.user, "database": url.database or url.user}.get(whose)
    if limited:
        lift = f"ALTER {whose.upper()} {quote_name(limited)} CONNECTION LIMIT -1"
        fixes += (run_sql("or lift the limit", lift, url, here),)
    note = f"a pool of SQLAlchemy keeps {POOL_SIZE} in each worker, and opens 10 more under load"
    finding = Finding("pg-too-many-connections", title, url.place or None, notes=(note,), remedies=fixes)
    return CheckLayer(SLOTS, "warn", title), finding
