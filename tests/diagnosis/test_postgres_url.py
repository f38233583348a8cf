from __future__ import annotations

import pytest

from masuka_magic.diagnosis.findings import Finding
from masuka_magic.diagnosis.postgres_url import PostgresUrl, dialect_of, parse_postgres_url


def read(url: str) -> PostgresUrl:
    parts = parse_postgres_url(url)
    assert isinstance(parts, PostgresUrl), parts
    return parts


@pytest.mark.parametrize(
    ("url", "keywords"),
    [
        (
            "postgresql://masuka:secret@localhost:5432/app",
            {"user": "masuka", "password": "secret", "host": "localhost", "port": "5432", "dbname": "app"},
        ),
        ("postgres://h/d", {"host": "h", "dbname": "d"}),
        (
            "postgresql+psycopg://u%40x:p%40%2F%3A%25@127.0.0.1/my%20db",
            {"user": "u@x", "password": "p@/:%", "host": "127.0.0.1", "dbname": "my db"},
        ),
        ("postgresql://u:p/w?x@h/d", {"user": "u", "password": "p/w?x", "host": "h", "dbname": "d"}),
        ("postgresql://u@x@h/d", {"user": "u@x", "host": "h", "dbname": "d"}),
        ("postgresql://u@[::1]:5433/d", {"user": "u", "host": "::1", "port": "5433", "dbname": "d"}),
        ("postgresql:///d?host=/var/run/postgresql", {"host": "/var/run/postgresql", "dbname": "d"}),
        ("postgresql://u@:5433/d?host=/tmp", {"user": "u", "host": "/tmp", "port": "5433", "dbname": "d"}),
        (
            "postgresql://u@h/d?sslmode=require",
            {"user": "u", "host": "h", "dbname": "d", "sslmode": "require"},
        ),
        (
            "postgresql+asyncpg://u@h/d?ssl=verify-full&prepared_statement_cache_size=0",
            {"user": "u", "host": "h", "dbname": "d", "sslmode": "verify-full"},
        ),
        ("postgresql+asyncpg://h/d?ssl=true", {"host": "h", "dbname": "d", "sslmode": "require"}),
        ("postgresql+pg8000://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql://u@/d?host=a:1&host=b:2", {"user": "u", "host": "a,b", "port": "1,2", "dbname": "d"}),
        ("postgresql://u@/d?host=a,b&port=1,2", {"user": "u", "host": "a,b", "port": "1,2", "dbname": "d"}),
        ("postgresql+psycopg2://", {}),
    ],
)
def test_a_url_reads_as_sqlalchemy_reads_it(url, keywords) -> None:
    """Every spelling that SQLAlchemy's dialects take is said in libpq's keywords."""
    assert keywords == read(url).keywords()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://masuka:secret@localhost:5432/app",
        "postgresql://u%40x:p%40%2F%3A%25@127.0.0.1/d",
        "postgresql://u:p/w?x@h/d",
        "postgresql://u@[::1]:5433/d",
    ],
)
def test_the_reading_agrees_with_sqlalchemy(url) -> None:
    """SQLAlchemy itself reads the same user, password, host, port and database."""
    make_url = pytest.importorskip("sqlalchemy.engine").make_url
    theirs, ours = make_url(url), read(url)

    assert (theirs.username, theirs.password, theirs.host, theirs.database) == (
        ours.user,
        ours.password,
        ours.hosts[0],
        ours.database,
    )
    assert str(theirs.port or "") == ours.ports[0]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://masuka:x@127.0.0.1:5432/masuka", "masuka@127.0.0.1:5432"),
        ("postgresql://masuka:x@localhost/app", "masuka@localhost:5432/app"),
        ("postgresql://masuka@[::1]/masuka", "masuka@[::1]:5432"),
        ("postgresql:///masuka?host=/var/run/postgresql", "/var/run/postgresql/masuka"),
        ("postgresql://masuka@/masuka", "masuka@the local socket"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown) -> None:
    """Role, place and a database that differs from the role are shown; a password never, not even by repr."""
    assert shown == read(url).shown
    assert "password" not in repr(read("postgresql://u:topsecret@h/d"))
    assert "topsecret" not in repr(read("postgresql://u:topsecret@h/d"))


@pytest.mark.parametrize(
    ("url", "shown", "advice"),
    [
        (
            "postgresql://masuka:p@ss/w@localhost:5432/masuka",
            "postgresql://masuka:…@localhost:5432/masuka",
            "/ as %2F",
        ),
        ("postgresql://u:p@@db/d?sslmode=require", "postgresql://u:…@db/d?…", "@ as %40"),
    ],
)
def test_a_bare_at_sign_in_the_password_is_a_bad_url(url, shown, advice) -> None:
    """The finding shows the URL as it should be written, and no piece of the password."""
    finding = parse_postgres_url(url)

    assert isinstance(finding, Finding)
    assert finding.code == "bad-url"
    assert shown == finding.remedies[0].command
    assert advice in finding.remedies[0].text
    assert "ss/w" not in repr(finding)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:5432/masuka",
        "postgresql://u@h:abc/d",
        "postgresql://u@h:99999/d",
        "postgresql://u@/d?host=a,b&port=1,2,3",
    ],
)
def test_what_cannot_be_read_is_a_bad_url(url) -> None:
    """A missing scheme, a port that is none, and hosts that do not match their ports have a finding."""
    finding = parse_postgres_url(url)

    assert isinstance(finding, Finding)
    assert finding.code == "bad-url"


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("postgresql+asyncpg://h/d", "postgresql"),
        ("sqlite:///x.db", "sqlite"),
        ("mysql+pymysql://h/d", "mysql"),
        ("nonsense", ""),
    ],
)
def test_the_dialect_is_the_scheme_without_the_driver(url, dialect) -> None:
    """Which database a URL means is told by the first part of its scheme."""
    assert dialect == dialect_of(url)
