from __future__ import annotations

import pytest

from masuka_magic.diagnosis.machine import Machine
from masuka_magic.diagnosis.postgres import diagnose_postgres
from masuka_magic.diagnosis.postgres_url import PostgresUrl

URL = PostgresUrl(user="masuka", hosts=("127.0.0.1",), ports=("5432",), database="shop")


@pytest.mark.parametrize(
    ("message", "title", "command"),
    [
        (
            (
                "(psycopg2.errors.InsufficientPrivilege) permission denied for schema public\n"
                "LINE 2: CREATE TABLE projects (\n                     ^\n"
            ),
            "role masuka may not create tables in schema public of database shop",
            "sudo -u postgres psql -d shop -c 'GRANT CREATE ON SCHEMA public TO masuka'",
        ),
        (
            "permission denied for schema private\nLINE 1: SELECT * FROM private.projects\n",
            "role masuka may not use schema private of database shop",
            "sudo -u postgres psql -d shop -c 'GRANT USAGE ON SCHEMA private TO masuka'",
        ),
        (
            "no schema has been selected to create in\nLINE 1: CREATE TABLE projects (id int)\n",
            "role masuka has no schema to create tables in, in database shop",
            "sudo -u postgres psql -d shop -c 'CREATE SCHEMA masuka AUTHORIZATION masuka'",
        ),
    ],
)
def test_what_a_role_may_not_do_in_a_schema_is_told(message: str, title: str, command: str) -> None:
    """The server's words of a statement that was denied make pg-privilege, with the grant that permits it."""
    finding = diagnose_postgres(message, url_parts=URL, here=Machine())

    assert finding is not None
    assert ("pg-privilege", title) == (finding.code, finding.title)
    assert command == finding.remedies[0].command


def test_without_names_nothing_is_proposed() -> None:
    """A statement cannot be written for a role that is not known."""
    finding = diagnose_postgres("permission denied for schema public", url_parts=None, here=Machine())

    assert finding is not None
    assert finding.remedies == ()
