"""Check the database that the backend will use, in layers, with exactly the URL that it will get.

PostgreSQL: `database_connect.py` asks, `database_layers.py` judges. SQLite: `sqlite.py`. Whatever else listens
on a port: `database_other.py`. That the backend's own driver can read the URL: `backend_url.py`.
Only what time heals is tried again: a server that is starting up, connection slots that are taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.postgres import diagnose_postgres, own_words
from masuka_magic.diagnosis.postgres_url import PostgresUrl, dialect_of, parse_postgres_url
from masuka_magic.preflight.check import CheckContext, CheckLayer, CheckResult
from masuka_magic.preflight.here import this_machine

if TYPE_CHECKING:
    from masuka_magic.config import Database
    from masuka_magic.diagnosis.findings import Finding
    from masuka_magic.diagnosis.machine import Machine
    from masuka_magic.preflight.database_connect import Attempt, Facts

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
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGPASSFILE": "passfile",
    "PGOPTIONS": "options",
}
_ENVIRONMENT_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "options")


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
        from masuka_magic.preflight.backend_url import judge

        database = context.config.database
        if database is None:
            return CheckResult("skip", "none configured")
        environ = {**os.environ, **context.environ, **context.config.env}
        dialect = dialect_of(database.url)
        if dialect not in ("postgresql", "postgres", ""):
            return _not_postgres(context, database, dialect, environ)
        url = parse_postgres_url(database.url)
        if not isinstance(url, PostgresUrl):
            return _refused(url, database)
        judgement = judge(context.config, database.url, environ)
        if judgement.finding is not None:
            return _refused(judgement.finding, database, None, url)
        try:
            import psycopg2  # noqa: F401 - asked for here: without it nothing can be said about the database
        except ImportError as error:
            return CheckResult("warn", f"not checked: psycopg2 cannot be imported ({error})")
        result = self._until_it_is_decided(context, database, with_environment(url, environ))
        layers = tuple(
            replace(one, text=judgement.text) if (one.name, one.verdict) == ("url", "pass") else one
            for one in result.layers
        )
        return replace(result, layers=layers)

    def _until_it_is_decided(
        self, context: CheckContext, database: Database, url: PostgresUrl
    ) -> CheckResult:
        from masuka_magic.preflight.database_connect import attempt

        begun = time.monotonic()
        tries = said = 0
        while True:
            seen = attempt(url, self._connect_s, context.cancelled)
            if seen.interrupted:
                return CheckResult("skip", "interrupted")
            if seen.facts is not None:
                return _accepted(seen, seen.facts, database, url, self._machine())
            words = seen.words or "no words"
            finding = diagnose_postgres(words, url_parts=url, here=self._machine()) or own_words(words, url)
            waited_s = time.monotonic() - begun
            if waited_s >= self._patience_s.get(finding.code, 0.0):
                note = f"waited {waited_s:.0f} s for it" if tries else None
                noted = replace(finding, notes=(*finding.notes, *([note] if note else [])))
                return _refused(noted, database, seen, url)
            if tries == 0 or int(waited_s) > said:
                said = int(waited_s)
                context.progress(_waiting_for(finding, said))
            if context.cancelled.wait(_RETRY_GAPS_S[min(tries, len(_RETRY_GAPS_S) - 1)]):
                return CheckResult("skip", "interrupted")
            tries += 1


def _not_postgres(
    context: CheckContext, database: Database, dialect: str, environ: Mapping[str, str]
) -> CheckResult:
    """Check another kind of database: a URL that its driver cannot read, then a file or a port."""
    from masuka_magic.preflight.backend_url import judge
    from masuka_magic.preflight.database_other import check_other
    from masuka_magic.preflight.sqlite import check_sqlite

    judgement = judge(context.config, database.url, environ)
    if judgement.finding is not None:
        result = CheckResult("fail", judgement.finding.title, judgement.finding)
        return _placed(replace(result, layers=(CheckLayer("url", "fail", result.text),)), database)
    if dialect == "sqlite":
        result = check_sqlite(database.url, context.config)
    else:
        result = check_other(database.url, dialect, context.cancelled)
    return _placed(
        replace(result, layers=(CheckLayer("url", "pass", judgement.text), *result.layers)), database
    )


def _accepted(
    seen: Attempt, facts: Facts, database: Database, url: PostgresUrl, here: Machine
) -> CheckResult:
    from masuka_magic.preflight.database_layers import accepted

    layers, findings = accepted(seen, facts, url, here)
    failed = [layer.name for layer in layers if layer.verdict == "fail"]
    text = f"PostgreSQL {facts.version}, {url.shown}"
    if failed:
        return _placed(CheckResult("fail", findings[0].title, findings[0], layers=layers), database)
    if findings:
        wrong = "; ".join(finding.title for finding in findings)
        return _placed(CheckResult("warn", f"{text}: {wrong}", findings[0], layers=layers), database)
    hidden = f" (hides another URL in {database.hidden})" if database.hidden else ""
    return CheckResult("pass", f"{text}{hidden}", layers=layers)


def _refused(
    finding: Finding, database: Database, seen: Attempt | None = None, url: PostgresUrl | None = None
) -> CheckResult:
    from masuka_magic.preflight.database_layers import refused

    layers = refused(finding, seen, url)
    return _placed(CheckResult("fail", finding.title, finding, layers=layers), database)


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


def _placed(result: CheckResult, database: Database) -> CheckResult:
    """Say in the finding where the URL at fault stands."""
    if result.finding is None:
        return result
    source = "the key `database`" if database.source == "database" else database.source
    place = f"the URL comes from {source}"
    if database.hidden:
        place += f", which hides another one in {database.hidden}"
    finding = replace(result.finding, notes=(*result.finding.notes, place))
    return replace(result, finding=finding)
