from __future__ import annotations

import shlex

import pytest

from masuka_magic.diagnosis.machine import Machine
from masuka_magic.diagnosis.postgres import diagnose_postgres, own_words
from masuka_magic.diagnosis.postgres_remedies import (
    quote_argument,
    quote_name,
    run_sql,
    start_server,
    write_url,
)
from masuka_magic.diagnosis.postgres_url import PostgresUrl

URL = PostgresUrl(
    user="masuka", password="hush-hush", hosts=("localhost",), ports=("5432",), database="masuka"
)
LAPTOP = Machine(service=True)
COLAB = Machine(root=True, colab=True, service=True)
BARE_ROOT = Machine(root=True, sudo=False, service=True)

REFUSED = (
    'connection to server at "localhost" (::1), port 5432 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?\n"
)
OLD_REFUSED = (
    "could not connect to server: Connection refused\n\tIs the server running on host "
    '"localhost" (127.0.0.1) and accepting\n\tTCP/IP connections on port 5432?'
)
NO_SOCKET = (
    'connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: No such file or directory\n'
    "\tIs the server running locally and accepting connections on that socket?"
)
REFUSED_4 = REFUSED.replace("::1", "127.0.0.1")
FATAL = 'connection to server at "127.0.0.1", port 5432 failed: FATAL:  '

CASES = [
    (REFUSED_4, "pg-refused", "localhost:5432"),
    (REFUSED + REFUSED_4, "pg-refused", "localhost:5432"),
    (OLD_REFUSED, "pg-refused", "localhost:5432"),
    (
        "Can't create a connection to host 127.0.0.1 and port 5433 (timeout is None)",
        "pg-refused",
        "127.0.0.1:5433",
    ),
    (NO_SOCKET, "pg-refused", "/var/run/postgresql/.s.PGSQL.5432"),
    (FATAL + 'password authentication failed for user "masuka"', "pg-auth", "masuka"),
    ('asyncpg: FATAL:  password authentication failed for user "masuka"', "pg-auth", "masuka"),
    (
        'connection to server at "h" (1.2.3.4), port 1 failed: fe_sendauth: no password supplied',
        "pg-auth",
        "masuka",
    ),
    (FATAL + 'role "root" does not exist', "pg-no-role", "root"),
    (FATAL + 'database "app" does not exist', "pg-no-database", "app"),
    (FATAL + 'Peer authentication failed for user "blog"', "pg-peer", "blog"),
    (FATAL + 'Ident authentication failed for user "blog"', "pg-peer", "blog"),
    ('could not translate host name "db" to address: Name or service not known', "pg-dns", "db"),
    ('could not translate host name "@db" to address: Name or service not known', "bad-url", None),
    ('invalid dsn: invalid connection option "sslmod"', "bad-url", "sslmod"),
    (FATAL + "the database system is starting up", "pg-starting-up", "127.0.0.1:5432"),
    (FATAL + "the database system is shutting down", "pg-starting-up", "127.0.0.1:5432"),
    (FATAL + "the database system is not yet accepting connections", "pg-starting-up", "127.0.0.1:5432"),
    (FATAL + "sorry, too many clients already", "pg-too-many-connections", "127.0.0.1:5432"),
    (
        FATAL + "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "pg-too-many-connections",
        "127.0.0.1:5432",
    ),
    (FATAL + 'too many connections for role "masuka"', "pg-too-many-connections", "masuka"),
    (
        'connection to server at "h", port 5432 failed: server does not support SSL, but SSL was required',
        "pg-ssl",
        "sslmode",
    ),
    (
        FATAL + 'no pg_hba.conf entry for host "10.0.0.5", user "u", database "d", SSL off',
        "pg-ssl",
        "sslmode",
    ),
    (
        FATAL
        + 'no pg_hba.conf entry for host "10.0.0.5", user "u", database "d", SSL encryption\n'
        + FATAL
        + 'no pg_hba.conf entry for host "10.0.0.5", user "u", database "d", no encryption',
        "pg-hba",
        "masuka",
    ),
    (FATAL + 'role "masuka" is not permitted to log in', "pg-privilege", "masuka"),
    (FATAL + 'permission denied for database "app"', "pg-privilege", "app"),
    (
        'connection to server at "h", port 80 failed: received invalid response to SSL negotiation: H',
        "pg-not-postgres",
        "h:80",
    ),
    ('connection to server at "h", port 5432 failed: timeout expired', "pg-unreachable", "h:5432"),
    (FATAL + "the moon is in the wrong quarter", "unknown", "127.0.0.1:5432"),
]


@pytest.mark.parametrize(("message", "code", "culprit"), CASES)
@pytest.mark.parametrize("here", [LAPTOP, COLAB, BARE_ROOT], ids=["laptop", "colab", "root"])
def test_words_have_their_code_and_culprit(message, code, culprit, here) -> None:
    """The words of libpq and the server map to one code with the value at fault; the title stands alone."""
    finding = diagnose_postgres(message, url_parts=URL, here=here)

    assert finding is not None
    assert code == finding.code
    if culprit is not None:
        assert culprit == finding.culprit
    assert not finding.title.endswith(".")
    assert "\n" not in finding.title
    assert "hush-hush" not in repr(finding)
    for remedy in finding.remedies:
        if remedy.kind == "shell" and remedy.command:
            assert shlex.split(remedy.command)


@pytest.mark.parametrize("message", ["hello", "redis: Connection refused", "Connection timed out", ""])
def test_other_words_are_left_to_others(message) -> None:
    """A text that does not speak of a PostgreSQL connection has no finding here."""
    assert diagnose_postgres(message, url_parts=URL, here=LAPTOP) is None


def test_two_refused_addresses_are_one_cause() -> None:
    """::1 and 127.0.0.1 refusing alike is one finding that names both."""
    finding = diagnose_postgres(REFUSED + REFUSED_4, url_parts=URL, here=LAPTOP)

    assert finding is not None
    assert finding.title == "PostgreSQL refused the connection at localhost:5432"
    assert finding.notes == ("refused at 127.0.0.1 and ::1: nothing listens there",)


def test_a_server_that_answered_outranks_an_address_that_refused() -> None:
    """With ::1 refused and a wrong password at 127.0.0.1 the password is the cause."""
    message = REFUSED + FATAL + 'password authentication failed for user "masuka"'
    finding = diagnose_postgres(message, url_parts=URL, here=LAPTOP)

    assert finding is not None
    assert finding.code == "pg-auth"
    assert finding.evidence[0].text == FATAL + 'password authentication failed for user "masuka"'


def test_a_rejected_password_offers_both_fixes() -> None:
    """Scram answers a missing role in the same words, so both fixes are offered and no cause is invented."""
    message = FATAL + 'password authentication failed for user "masuka"'
    finding = diagnose_postgres(message, url_parts=URL, here=LAPTOP)

    assert finding is not None
    assert [
        "sudo -u postgres psql -c \"ALTER ROLE masuka PASSWORD '…'\"",
        "sudo -u postgres psql -c \"CREATE ROLE masuka LOGIN PASSWORD '…'\"",
    ] == [remedy.command for remedy in finding.remedies]


def test_a_piece_of_a_password_is_not_shown() -> None:
    """When the host is a piece of the password, neither title nor evidence repeats it."""
    message = 'could not translate host name "word@db" to address: Name or service not known'

    assert "word" not in repr(diagnose_postgres(message, url_parts=URL, here=LAPTOP)).replace("password", "")


def test_unknown_words_are_shown_as_they_are() -> None:
    """What no rule knows becomes `unknown` in the database's own words, with what does not print escaped."""
    finding = own_words(FATAL + "bell \x07 rings", URL)

    assert finding.code == "unknown"
    assert finding.title == "the connection to PostgreSQL at 127.0.0.1:5432 failed: bell \\x07 rings"
    assert [FATAL + "bell \\x07 rings"] == [line.text for line in finding.evidence]


@pytest.mark.parametrize(
    ("here", "command"),
    [
        (Machine(service=True), "sudo service postgresql start"),
        (Machine(systemd=True, service=True), "sudo systemctl start postgresql"),
        (Machine(root=True, service=True), "service postgresql start"),
        (Machine(root=True, colab=True, service=True), "!service postgresql start"),
        (Machine(brew=True), "brew services start postgresql"),
        (Machine(pg_ctl=True, data_folder="/my data"), "pg_ctl -D '/my data' start"),
        (
            Machine(root=True, pg_ctl=True, data_folder="/d"),
            "runuser -u postgres -- pg_ctl -D /d start",
        ),
        (
            Machine(root=True, colab=True, apt=True, server=False),
            "!apt-get install -y postgresql && service postgresql start",
        ),
        (Machine(), None),
    ],
)
def test_the_server_is_started_as_this_machine_does_it(here, command) -> None:
    """The command fits root and not, Colab, systemd, a service script, Homebrew, pg_ctl, and none of them."""
    assert command == start_server(here).command


def test_another_machine_is_not_started_from_here() -> None:
    """For a server elsewhere no local command is proposed."""
    message = 'connection to server at "db.example.com" (10.0.0.9), port 5432 failed: Connection refused'
    finding = diagnose_postgres(message, url_parts=None, here=LAPTOP)

    assert finding is not None
    assert [None] == [remedy.command for remedy in finding.remedies]


@pytest.mark.parametrize(
    ("host", "port", "here", "command"),
    [
        ("127.0.0.1", "5433", LAPTOP, "sudo -u postgres psql -p 5433 -c 'SELECT 1'"),
        ("", "", BARE_ROOT, "runuser -u postgres -- psql -c 'SELECT 1'"),
        ("db", "5432", LAPTOP, "psql -h db -U postgres -d postgres -c 'SELECT 1'"),
        ("localhost", "5432", Machine(sudo=False), "psql -U postgres -c 'SELECT 1'"),
    ],
)
def test_sql_is_run_as_the_superuser_where_the_server_is(host, port, here, command) -> None:
    """Over the socket on this machine, over TCP on another one, with the port when it is not the usual one."""
    url = PostgresUrl(hosts=(host,), ports=(port,))

    assert command == run_sql("run it", "SELECT 1", url, here).command


@pytest.mark.parametrize(
    "name", ["plain", "My App", 'a"b', "it's", "$HOME", "`id`", "a;b", "a\\b", "user", "!x"]
)
def test_names_survive_sql_and_the_shell(name) -> None:
    """A foreign name reaches psql as one identifier: nothing in it is run or expanded by the shell."""
    statement = f"CREATE DATABASE {quote_name(name)}"
    remedy = run_sql("create it", statement, URL, LAPTOP)

    assert ["sudo", "-u", "postgres", "psql", "-c", statement] == shlex.split(remedy.command or "")
    assert [statement] == shlex.split(quote_argument(statement))


@pytest.mark.parametrize("name", ["$x", "{x}", "a\nb"])
def test_a_name_that_a_cell_would_expand_is_left_to_psql(name) -> None:
    """IPython fills in $x and {x} in a `!` line: there the SQL alone is shown, or nothing where it cannot be."""
    assert run_sql("create it", f'CREATE DATABASE "{name}"', URL, COLAB).kind == "sql"


def test_a_proposed_url_hides_the_password_and_keeps_the_driver() -> None:
    """The password is three dots, names are percent-escaped, and asyncpg keeps its scheme."""
    url = PostgresUrl("asyncpg", "u@x", "secret", ("h",), ("",), "my db")

    assert (
        write_url("so", url, option="ssl=require").command
        == "postgresql+asyncpg://u%40x:…@h:5432/my%20db?ssl=require"
    )
