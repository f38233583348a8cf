"""What a role that was let in may not do, and what to grant it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.diagnosis.postgres_remedies import quote_name, run_sql
from masuka_magic.diagnosis.postgres_words import visible

if TYPE_CHECKING:
    from masuka_magic.diagnosis.machine import Machine
    from masuka_magic.diagnosis.postgres_url import PostgresUrl


def may_not_create(
    schema: str | None, *, url: PostgresUrl | None, here: Machine, notes: tuple[str, ...] = ()
) -> Finding:
    """Name a role that may not create tables in `schema`; None: there is no schema that it could use."""
    role, database = _who(url)
    if schema is None:
        title = f"role {role} has no schema to create tables in, in database {database}"
        statement = f"CREATE SCHEMA {quote_name(role)} AUTHORIZATION {quote_name(role)}"
        fix = run_sql("give it one of its own", statement, url, here, database=database)
        notes = ("the schemas of its search_path do not exist, or are closed to it", *notes)
        return _finding(title, role, notes, url, fix)
    title = f"role {role} may not create tables in schema {schema} of database {database}"
    grant = f"GRANT CREATE ON SCHEMA {quote_name(schema)} TO {quote_name(role)}"
    fixes = [run_sql("permit it", grant, url, here, database=database)]
    if schema == "public":
        notes = ("since PostgreSQL 15 the owner of a database alone may, unless it is granted", *notes)
        owner = f"ALTER DATABASE {quote_name(database)} OWNER TO {quote_name(role)}"
        fixes.append(run_sql("or make it the owner of the database", owner, url, here))
    return _finding(title, schema, notes, url, *fixes)


def may_not_use(schema: str, *, url: PostgresUrl | None, here: Machine) -> Finding:
    """Name a role that may not reach what is in `schema`."""
    role, database = _who(url)
    title = f"role {role} may not use schema {schema} of database {database}"
    grant = f"GRANT USAGE ON SCHEMA {quote_name(schema)} TO {quote_name(role)}"
    return _finding(title, schema, (), url, run_sql("permit it", grant, url, here, database=database))


def _who(url: PostgresUrl | None) -> tuple[str, str]:
    role = (url.user if url else None) or "of the backend"
    return role, (url.database if url else None) or (role if url and url.user else "of the backend")


def _finding(
    title: str, culprit: str, notes: tuple[str, ...], url: PostgresUrl | None, *fixes: Remedy
) -> Finding:
    """Make the finding; a statement needs the names, so without them there is none to propose."""
    remedies = fixes if url is not None and url.user else ()
    return Finding("pg-privilege", visible(title), visible(culprit), notes=notes, remedies=remedies)
