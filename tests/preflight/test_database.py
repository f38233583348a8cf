from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from masuka_magic.demo.postgres import EmbeddedPostgres
from masuka_magic.diagnosis.machine import Machine
from masuka_magic.diagnosis.postgres_url import PostgresUrl
from masuka_magic.preflight.check import CheckResult
from masuka_magic.preflight.database import DatabaseCheck, with_environment
from masuka_magic.preflight.here import this_machine

pytestmark = pytest.mark.timeout(180)

LAPTOP = Machine(service=True)


@pytest.fixture
def check(bench, make_config):
    """Check a URL as a start would, on a machine whose remedies are known."""

    def run(
        url: str | None, *, hidden: str | None = None, env: dict[str, str] | None = None, **bounds: float
    ):
        return bench.run(
            DatabaseCheck(machine=lambda: LAPTOP, **bounds), make_config(url, hidden=hidden, env=env or {})
        )

    return run


def code_of(result: CheckResult) -> str:
    assert result.verdict == "fail", result
    assert result.finding is not None
    return result.finding.code


def test_a_database_that_lets_us_in_passes_with_its_version(check, postgres) -> None:
    """The text has the server's version, the role, the place, and no password."""
    version = postgres.execute("SHOW server_version")[0][0].split()[0]

    result = check(postgres.url)

    assert result.verdict == "pass"
    assert f"PostgreSQL {version}, masuka@127.0.0.1:{postgres.port}" == result.text


def test_a_database_that_differs_from_the_role_is_shown(check, postgres) -> None:
    """The database's name stands behind the place when it is not the role's."""
    result = check(postgres.url_for("postgres", postgres.superuser_password, "masuka"))

    assert result.text.endswith(f"postgres@127.0.0.1:{postgres.port}/masuka")


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql+psycopg2", "postgresql+asyncpg", "postgresql+pg8000"]
)
def test_every_driver_of_sqlalchemy_is_understood(check, postgres, scheme) -> None:
    """The URL is the backend's; libpq connects in its driver's place."""
    assert check(postgres.url.replace("postgresql", scheme, 1)).verdict == "pass"


def test_the_connection_is_closed(check, postgres) -> None:
    """No session of the role stays on the server."""
    check(postgres.url)

    deadline = time.monotonic() + 20
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'masuka'"
    while postgres.execute(sessions) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_hidden_url_is_said(check, postgres) -> None:
    """A variable that hides another value in .env is told, on a pass and on a failure."""
    passed = check(postgres.url, hidden=".env")
    failed = check(postgres.url_for("masuka", "wrong", "masuka"), hidden=".env")

    assert passed.text.endswith("(hides another URL in .env)")
    assert failed.finding.notes[-1] == "the URL comes from [env], which hides another one in .env"


def test_a_wrong_password_is_told_without_printing_it(check, postgres) -> None:
    """The code is pg-auth, the culprit the role; neither the wrong nor the right password appears."""
    result = check(postgres.url_for("masuka", "guess-1234", "masuka"))

    assert code_of(result) == "pg-auth"
    assert result.finding.culprit == "masuka"
    assert f"PostgreSQL at 127.0.0.1:{postgres.port} rejected role masuka with this password" == result.text
    assert "guess-1234" not in repr(result)
    assert postgres.password not in repr(result)


def test_a_missing_role_reads_as_a_wrong_password_and_offers_to_create_it(check, postgres) -> None:
    """Scram does not tell the two apart, so the finding offers both."""
    result = check(postgres.url_for("nobody here", "x", "masuka"))

    assert code_of(result) == "pg-auth"
    assert any('CREATE ROLE \\"nobody here\\"' in (fix.command or "") for fix in result.finding.remedies)


def test_no_password_at_all_is_told(check, postgres) -> None:
    """A URL without a password is not reported as a wrong one."""
    result = check(f"postgresql://masuka@127.0.0.1:{postgres.port}/masuka")

    assert code_of(result) == "pg-auth"
    assert "gives no password" in result.text


def test_a_password_of_the_backends_environment_is_used(check, postgres) -> None:
    """PGPASSWORD in [env] reaches the backend's libpq, so it counts here."""
    url = f"postgresql://masuka@127.0.0.1:{postgres.port}/masuka"

    assert check(url, env={"PGPASSWORD": postgres.password}).verdict == "pass"


def test_a_missing_database_is_told(check, postgres) -> None:
    """The code is pg-no-database and the fix creates it for the role of the URL."""
    result = check(postgres.url_for("masuka", postgres.password, "nowhere"))

    assert code_of(result) == "pg-no-database"
    assert result.finding.culprit == "nowhere"
    assert result.finding.remedies[0].command == (
        f"sudo -u postgres psql -p {postgres.port} -c 'CREATE DATABASE nowhere OWNER masuka'"
    )


def test_a_role_that_trust_does_not_know_is_told(check, template) -> None:
    """Where no password is asked for, a missing role has its own words."""
    with EmbeddedPostgres(template=template, hba=["host all all 127.0.0.1/32 trust"]) as server:
        result = check(f"postgresql://root@127.0.0.1:{server.port}/masuka")

    assert code_of(result) == "pg-no-role"
    assert result.finding.culprit == "root"


def test_tls_that_the_server_lacks_is_told(check, postgres) -> None:
    """A server without TLS and a URL that requires it: the fix drops the requirement, in the driver's spelling."""
    result = check(f"{postgres.url}?sslmode=require")
    spelt = check(f"{postgres.url.replace('postgresql', 'postgresql+asyncpg', 1)}?ssl=require")

    assert code_of(result) == "pg-ssl"
    assert result.finding.remedies[0].command.endswith("?sslmode=disable")
    assert spelt.finding.remedies[0].command.endswith("?ssl=disable")


def test_tls_that_the_server_demands_is_told(check, template) -> None:
    """With hostssl lines alone a plain connection finds no entry; the fix requires TLS."""
    with EmbeddedPostgres(template=template, hba=["hostssl all all 127.0.0.1/32 scram-sha-256"]) as server:
        result = check(f"{server.url}?sslmode=disable")

    assert code_of(result) == "pg-ssl"
    assert result.finding.remedies[0].command.endswith("?sslmode=require")


def test_a_stopped_server_refuses_and_is_not_waited_for(check, template, bench) -> None:
    """Connection refused is told at once: time does not heal it. Started again, the same check passes."""
    with EmbeddedPostgres(template=template) as server:
        server.stop()
        result = check(server.url)
        server.start()
        again = check(server.url)

    assert code_of(result) == "pg-refused"
    assert f"PostgreSQL refused the connection at 127.0.0.1:{server.port}" == result.text
    assert result.finding.remedies[0].command == "sudo service postgresql start"
    assert bench.said == []
    assert again.verdict == "pass"


def test_localhost_that_refuses_is_one_finding(check, free_port) -> None:
    """Both addresses of localhost refuse, and there is one cause."""
    result = check(f"postgresql://masuka:x@localhost:{free_port}/masuka")

    assert code_of(result) == "pg-refused"
    assert f"localhost:{free_port}" == result.finding.culprit


def test_taken_slots_are_waited_for_and_then_told(check, bench, template) -> None:
    """A role gets no slot while others hold them all; one that is freed in time lets the check pass."""
    few = {"max_connections": "8", "superuser_reserved_connections": "3", "max_wal_senders": "0"}
    with EmbeddedPostgres(template=template, settings=few) as server, contextlib.ExitStack() as held:
        for _ in range(5):
            held.enter_context(contextlib.closing(psycopg2.connect(server.url)))
        result = check(server.url, slots_s=0.3)
        lines = list(bench.said)

        def free_when_asked_to_wait() -> None:
            while len(bench.said) == len(lines):
                time.sleep(0.01)
            held.close()

        freer = threading.Thread(target=free_when_asked_to_wait, daemon=True)
        freer.start()
        healed = check(server.url, slots_s=30)
        freer.join(20)

    assert code_of(result) == "pg-too-many-connections"
    assert "all connection slots of PostgreSQL are taken" in lines[0]
    assert healed.verdict == "pass"


@pytest.fixture
def starting(template: Path, tmp_path: Path) -> Iterator[tuple[EmbeddedPostgres, Callable[[], None]]]:
    """A real server that starts up until it is let go: its recovery asks for a log file that is slow to come."""
    with EmbeddedPostgres(template=template) as server:
        server.stop()
        gate = server.folder / "gate"
        waiting = f"while [ -d {server.folder} ] && [ ! -e {gate} ]; do sleep 0.02; done; false"
        server.configure({"restore_command": waiting})
        (server.data / "recovery.signal").touch()
        server.start(wait=False)
        try:
            yield server, gate.touch
        finally:
            gate.touch()


def test_a_server_that_starts_up_is_waited_for(check, bench, starting, port_open) -> None:
    """The real server's 57P03 is retried, with a progress line, until it accepts."""
    server, let_go = starting
    port_open(server.port)

    def release() -> None:
        while not bench.said:
            time.sleep(0.01)
        let_go()

    released = threading.Thread(target=release, daemon=True)
    released.start()
    result = check(server.url, starting_up_s=60)
    released.join(20)

    assert result.verdict == "pass", result
    assert bench.said[0] == "PostgreSQL is starting up, waiting"


def test_a_server_that_does_not_finish_starting_up_is_told(check, bench, starting, port_open) -> None:
    """After the bound the finding says so, and how long was waited."""
    server, _ = starting
    port_open(server.port)

    result = check(server.url, starting_up_s=2.0)

    assert code_of(result) == "pg-starting-up"
    assert any(note.startswith("waited ") for note in result.finding.notes)
    assert ["PostgreSQL is starting up, waiting", "PostgreSQL is starting up, waiting 1 s"] == bench.said[:2]
    assert result.finding.remedies[0].kind == "wait"


def test_an_interrupt_ends_the_waiting(bench, make_config, starting, port_open) -> None:
    """A check that waits for a server returns when the user interrupts."""
    server, _ = starting
    port_open(server.port)

    def interrupt() -> None:
        while not bench.said:
            time.sleep(0.01)
        bench.cancelled.set()

    threading.Thread(target=interrupt, daemon=True).start()
    begun = time.monotonic()
    result = bench.run(DatabaseCheck(starting_up_s=60), make_config(server.url))

    assert (result.verdict, result.text) == ("skip", "interrupted")
    assert time.monotonic() - begun < 20


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Listen on a port of our own and treat every connection with a function."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        with contextlib.suppress(OSError):
            socket.create_connection(server.getsockname()).close()
        thread.join(20)


def test_a_server_that_stays_silent_is_told_within_the_limit(check) -> None:
    """A server that accepts and says nothing costs `connect_s` in all, and is no refused connection."""
    release = threading.Event()
    with listening(lambda _: release.wait(20)) as port:
        begun = time.monotonic()
        result = check(f"postgresql://masuka:x@127.0.0.1:{port}/masuka", connect_s=0.5)
        took = time.monotonic() - begun
        release.set()

    assert code_of(result) == "pg-unreachable"
    assert 0.4 < took < 10


def test_an_interrupt_ends_a_silent_connection(bench, make_config) -> None:
    """A server that never answers does not hold up an interrupt."""
    release = threading.Event()

    def stay(_: socket.socket) -> None:
        bench.cancelled.set()
        release.wait(20)

    with listening(stay) as port:
        result = bench.run(DatabaseCheck(connect_s=60), make_config(f"postgresql://m:x@127.0.0.1:{port}/m"))
        release.set()

    assert result.text == "interrupted"


def test_a_server_of_another_kind_is_told(check) -> None:
    """A web server on the port is not reported as a broken database."""

    def web(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(web) as port:
        result = check(f"postgresql://masuka:x@127.0.0.1:{port}/masuka")

    assert code_of(result) == "pg-not-postgres"


def test_a_host_that_does_not_exist_is_told(check) -> None:
    """A name that no name server knows (RFC 6761 keeps .invalid for that) is pg-dns."""
    result = check("postgresql://masuka:x@database.invalid:5432/masuka")

    assert code_of(result) == "pg-dns"
    assert result.finding.culprit == "database.invalid"


def test_a_torn_password_is_told_before_anything_is_asked(check) -> None:
    """A bare @ in the password is a bad URL, not an unknown host."""
    result = check("postgresql://masuka:p@ss/w@localhost:5432/masuka")

    assert code_of(result) == "bad-url"
    assert "ss/w" not in repr(result)


def test_an_unknown_option_is_told(check, postgres) -> None:
    """The words of libpq for a keyword that it does not know make a bad-url that names it."""
    result = check(f"{postgres.url}?sslmod=require")

    assert code_of(result) == "bad-url"
    assert result.finding.culprit == "sslmod"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (None, "none configured"),
        ("snowflake://u:p@account/d", "snowflake: the URL names no host and port to look at"),
        ("mongodb+srv://u:p@cluster.invalid/d", "MongoDB: the URL names no host and port to look at"),
    ],
)
def test_what_is_not_checked_is_skipped(check, url, text) -> None:
    """No database, and databases whose place is not in the URL, are skips, which prevent nothing."""
    result = check(url)

    assert (result.verdict, result.text) == ("skip", text)


def test_a_crashed_server_that_recovers_is_reached(check, template, port_open) -> None:
    """After kill -9 the server recovers, and the check passes as soon as it accepts."""
    with EmbeddedPostgres(template=template) as server:
        server.execute("CREATE TABLE rows AS SELECT generate_series(1, 100000) AS n", "masuka")
        server.stop(signal.SIGKILL)
        server.start(wait=False)
        port_open(server.port)
        assert check(server.url).verdict == "pass"


@pytest.mark.parametrize(
    ("url", "env", "place"),
    [
        (PostgresUrl(user="u"), {"PGHOST": "h", "PGPORT": "1"}, "h:1"),
        (PostgresUrl(user="u", hosts=("own",), ports=("2",)), {"PGHOST": "h", "PGPORT": "1"}, "own:2"),
        (PostgresUrl(user="u", hosts=("own",), ports=("",)), {"PGPORT": "1"}, "own:1"),
    ],
)
def test_the_url_comes_before_the_environment(monkeypatch, url, env, place) -> None:
    """As in libpq, variables fill in only what the URL leaves open."""
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)

    assert place == with_environment(url, env).place


def test_this_machine_can_be_described() -> None:
    """The edge that reads the machine answers with a value and raises nothing."""
    assert isinstance(this_machine(), Machine)


def test_two_addresses_that_refuse_are_one_finding(check, monkeypatch, free_port) -> None:
    """Where localhost is ::1 and 127.0.0.1, both refusals make one finding that names both."""
    rows = [(0, 0, 0, "", (address, 0)) for address in ("::1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)

    result = check(f"postgresql://masuka:x@localhost:{free_port}/masuka")

    assert code_of(result) == "pg-refused"
    assert f"localhost:{free_port}" == result.finding.culprit
    assert result.finding.notes[0] == "refused at 127.0.0.1 and ::1: nothing listens there"
