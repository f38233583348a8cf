"""The layers of a database check, against real servers that are really broken."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from masuka_magic.demo.postgres import EmbeddedPostgres
from masuka_magic.diagnosis.machine import Machine
from masuka_magic.preflight import database_connect
from masuka_magic.preflight.check import CheckResult
from masuka_magic.preflight.database import DatabaseCheck

pytestmark = pytest.mark.timeout(180)

LAYERS = (
    "url",
    "name",
    "TCP",
    "server",
    "TLS",
    "authentication",
    "database",
    "privileges",
    "connection slots",
)


@pytest.fixture
def check(bench, make_config):
    """Check a URL as a start would, on a machine whose remedies are known."""

    def run(url: str, *, env: dict[str, str] | None = None, **bounds: float) -> CheckResult:
        machine = Machine(service=True)
        config = make_config(url, env=env or {})
        result: CheckResult = bench.run(DatabaseCheck(machine=lambda: machine, **bounds), config)
        return result

    return run


def verdicts(result: CheckResult) -> dict[str, str]:
    """Return what each layer says, and prove that all are there and in their order."""
    assert tuple(layer.name for layer in result.layers) == LAYERS
    return {layer.name: layer.verdict for layer in result.layers}


def text_of(result: CheckResult, name: str) -> str:
    return next(layer.text for layer in result.layers if layer.name == name)


def failed_at(result: CheckResult, name: str) -> str:
    """Prove that this layer failed, that those below passed and those above were skipped; return the code."""
    at = LAYERS.index(name)
    expected = dict.fromkeys(LAYERS[:at], "pass") | {name: "fail"} | dict.fromkeys(LAYERS[at + 1 :], "skip")
    assert expected == verdicts(result), result
    assert (result.verdict, result.text) == ("fail", text_of(result, name))
    assert all(one.text.startswith("needs ") for one in result.layers if one.verdict == "skip")
    assert result.finding is not None
    return result.finding.code


def test_a_healthy_server_passes_in_every_layer(check, postgres) -> None:
    """Each layer says what was seen: address, version and latency, TLS, role, schema, free slots."""
    version = postgres.execute("SHOW server_version")[0][0].split()[0]

    result = check(postgres.url)

    assert dict.fromkeys(LAYERS, "pass") == verdicts(result)
    assert "127.0.0.1 is an address" == text_of(result, "name")
    assert f"connected to 127.0.0.1:{postgres.port}" == text_of(result, "TCP")
    assert text_of(result, "server").startswith(f"PostgreSQL {version}, answers in ")
    assert "none: the server does not offer it" == text_of(result, "TLS")
    assert "role masuka, by password" == text_of(result, "authentication")
    assert "may create tables in schema public" == text_of(result, "privileges")
    assert text_of(result, "connection slots").endswith(" of 100 are free")
    assert all(layer.duration_s >= 0 for layer in result.layers)


def test_a_healthy_server_costs_little(check, postgres) -> None:
    """Once psycopg2 is loaded, the best of ten checks takes less than 40 ms."""
    took = []
    for _ in range(10):
        begun = time.monotonic()
        assert check(postgres.url).verdict == "pass"
        took.append(time.monotonic() - begun)

    assert min(took) < 0.04, took


def test_a_name_is_looked_up_once_and_shown_with_its_address(check, postgres) -> None:
    """The layer says what localhost stands for here."""
    result = check(postgres.url.replace("127.0.0.1", "localhost"))

    assert result.verdict == "pass"
    assert "127.0.0.1" in text_of(result, "name")


def test_an_unknown_name_fails_in_its_layer(check) -> None:
    """Nothing was connected to."""
    assert failed_at(check("postgresql://masuka:x@database.invalid/masuka"), "name") == "pg-dns"


def test_a_name_server_that_is_silent_is_not_waited_for(check, monkeypatch) -> None:
    """The lookup of a name has the limit of the whole attempt, though it cannot be interrupted."""
    release = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begun = time.monotonic()
    result = check("postgresql://masuka:x@db.example.com/masuka", connect_s=0.3)
    took_s = time.monotonic() - begun
    release.set()

    assert failed_at(result, "name") == "pg-dns"
    assert took_s < 10


def test_a_stopped_server_fails_at_tcp(check, free_port) -> None:
    """Nothing listens."""
    result = check(f"postgresql://masuka:x@127.0.0.1:{free_port}/masuka")

    assert failed_at(result, "TCP") == "pg-refused"
    assert "needs a TCP connection" == text_of(result, "TLS")


def test_a_server_that_accepts_and_says_nothing_fails_above_tcp(check) -> None:
    """The port answers, so it is not TCP that fails."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = check(f"postgresql://masuka:x@127.0.0.1:{server.getsockname()[1]}/masuka", connect_s=0.3)

    assert failed_at(result, "server") == "pg-unreachable"


def test_a_wrong_password_fails_at_authentication(check, postgres) -> None:
    """Scram does not tell a wrong password from a missing role."""
    for role, password in (("masuka", "wrong"), ("nobody_here", "x")):
        result = check(postgres.url_for(role, password, "masuka"))
        assert failed_at(result, "authentication") == "pg-auth"


def test_no_password_fails_at_authentication(check, postgres) -> None:
    """The URL gives none."""
    result = check(f"postgresql://masuka@127.0.0.1:{postgres.port}/masuka")

    assert failed_at(result, "authentication") == "pg-auth"
    assert "gives no password" in result.text


def test_a_missing_database_fails_after_the_login(check, postgres) -> None:
    """The role was let in."""
    result = check(postgres.url_for("masuka", postgres.password, "nowhere"))

    assert failed_at(result, "database") == "pg-no-database"
    assert "role masuka" == text_of(result, "authentication")


def test_a_database_closed_to_the_role_fails_as_database(check, postgres) -> None:
    """CONNECT was revoked; the login is fine."""
    with granted(postgres, "closed_to") as (url, _):
        postgres.execute("CREATE DATABASE closed")
        postgres.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        result = check(url.replace("/masuka", "/closed"))
        postgres.execute("DROP DATABASE closed")

    assert failed_at(result, "database") == "pg-privilege"


@contextlib.contextmanager
def granted(server: EmbeddedPostgres, role: str, *statements: str) -> Iterator[tuple[str, str]]:
    """Have a role that owns nothing, for a while; return its URL for the database masuka, and its name."""
    server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'guest'")
    try:
        for statement in statements:
            server.execute(statement.format(role=role), "masuka")
        yield server.url_for(role, "guest", "masuka"), role
    finally:
        server.execute(f"DROP OWNED BY {role}", "masuka")
        server.execute(f"DROP ROLE {role}")


def test_a_role_that_does_not_own_the_schema_and_sees_no_table_fails(check, postgres) -> None:
    """PostgreSQL 15's default: the role gets in, and nothing that the backend does there would work."""
    with granted(postgres, "stranger") as (url, _):
        result = check(url)

    assert {**dict.fromkeys(LAYERS, "pass"), "privileges": "fail"} == verdicts(result)
    assert result.finding.code == "pg-privilege"
    assert "role stranger may not create tables in schema public of database masuka" == result.text
    assert result.finding.remedies[0].command == (
        f"sudo -u postgres psql -p {postgres.port} -d masuka -c 'GRANT CREATE ON SCHEMA public TO stranger'"
    )
    assert result.finding.remedies[1].command.endswith("-c 'ALTER DATABASE masuka OWNER TO stranger'")


def test_the_proposed_grant_heals_it(check, postgres) -> None:
    """What the finding proposes makes the check pass."""
    with granted(postgres, "healed") as (url, _):
        before = check(url)
        postgres.execute("GRANT CREATE ON SCHEMA public TO healed", "masuka")
        after = check(url)

    assert ["fail", "pass"] == [before.verdict, after.verdict]


def test_a_role_that_reads_tables_is_a_warning(check, postgres) -> None:
    """The backend may have its tables already: nothing is created then."""
    with granted(postgres, "reader", "CREATE TABLE seen (n int)", "GRANT SELECT ON seen TO {role}") as (
        url,
        _,
    ):
        result = check(url)
        postgres.execute("DROP TABLE seen", "masuka")

    assert {**dict.fromkeys(LAYERS, "pass"), "privileges": "warn"} == verdicts(result)
    assert result.verdict == "warn"
    assert result.text.startswith("PostgreSQL ")
    assert result.finding.code == "pg-privilege"


def test_a_table_that_the_role_may_not_read_does_not_help(check, postgres) -> None:
    """A table of somebody else's is out of reach."""
    with granted(postgres, "blind", "CREATE TABLE unseen (n int)") as (url, _):
        result = check(url)
        postgres.execute("DROP TABLE unseen", "masuka")

    assert verdicts(result)["privileges"] == "fail"


def test_a_role_that_may_make_a_schema_is_a_warning(check, postgres) -> None:
    """It may create its own schema and its tables there."""
    with granted(postgres, "maker", "GRANT CREATE ON DATABASE masuka TO {role}") as (url, _):
        result = check(url)

    assert verdicts(result)["privileges"] == "warn"


def test_no_schema_at_all_is_told(check, postgres) -> None:
    """A search_path whose schemas are not there leaves nowhere to create a table."""
    with granted(postgres, "homeless", "ALTER ROLE {role} SET search_path = nowhere") as (url, _):
        result = check(url)

    assert verdicts(result)["privileges"] == "fail"
    assert "role homeless has no schema to create tables in, in database masuka" == result.text


def test_the_search_path_of_the_url_counts(check, postgres) -> None:
    """`options` of the URL set the schema that the backend will create its tables in."""
    with granted(postgres, "mover", "CREATE SCHEMA own_place", "GRANT ALL ON SCHEMA own_place TO {role}") as (
        url,
        _,
    ):
        result = check(f"{url}?options=-csearch_path%3Down_place")
        postgres.execute("DROP SCHEMA own_place", "masuka")

    assert result.verdict == "pass"
    assert "may create tables in schema own_place" == text_of(result, "privileges")


def test_a_session_that_only_reads_is_a_warning(check, postgres) -> None:
    """As on a standby: it is well as long as the backend writes nothing."""
    result = check(f"{postgres.url}?options=-cdefault_transaction_read_only%3Don")

    assert verdicts(result)["privileges"] == "warn"
    assert "read only" in result.text


def test_few_slots_of_a_role_are_a_warning(check, postgres) -> None:
    """A limit of the role's own counts; a pool of SQLAlchemy's holds five."""
    with granted(
        postgres, "narrow", "GRANT CREATE ON SCHEMA public TO {role}", "ALTER ROLE {role} CONNECTION LIMIT 3"
    ) as (url, _):
        result = check(url)
        postgres.execute("ALTER ROLE narrow CONNECTION LIMIT 5")
        enough = check(url)

    assert {**dict.fromkeys(LAYERS, "pass"), "connection slots": "warn"} == verdicts(result)
    assert (
        f"3 connection slots of PostgreSQL are left for this role at 127.0.0.1:{postgres.port}" in result.text
    )
    assert result.finding.code == "pg-too-many-connections"
    assert enough.verdict == "pass"


@pytest.fixture(scope="module")
def small(template: Path) -> Iterator[EmbeddedPostgres]:
    """Give a server of eight slots, three of them for superusers."""
    few = {"max_connections": "8", "superuser_reserved_connections": "3", "max_wal_senders": "0"}
    with EmbeddedPostgres(template=template, settings=few) as server:
        yield server


def test_slots_that_run_out_are_warned_of_and_then_fail(check, small) -> None:
    """Five are left, then one, then none: pass, warning, failure of the last layer."""
    with contextlib.ExitStack() as held:
        free = check(small.url)
        for _ in range(4):
            held.enter_context(contextlib.closing(psycopg2.connect(small.url)))
        few = check(small.url)
        held.enter_context(contextlib.closing(psycopg2.connect(small.url)))
        none = check(small.url, slots_s=0.2)

    assert "5 of 8 are free" == text_of(free, "connection slots")
    assert (few.verdict, verdicts(few)["connection slots"]) == ("warn", "warn")
    assert "1 connection slot of PostgreSQL is left" in few.text
    assert (none.verdict, verdicts(none)["connection slots"]) == ("fail", "fail")
    assert none.finding.code == "pg-too-many-connections"
    assert "needs a connection slot" == text_of(none, "privileges")


def test_a_server_that_starts_up_fails_in_its_layer(check, template, port_open) -> None:
    """It speaks, and lets nobody in yet."""
    with EmbeddedPostgres(template=template) as server:
        server.stop()
        server.configure({"restore_command": f"while [ -d {server.folder} ]; do sleep 0.02; done; false"})
        (server.data / "recovery.signal").touch()
        server.start(wait=False)
        port_open(server.port)
        result = check(server.url, starting_up_s=0.2)

    assert failed_at(result, "server") == "pg-starting-up"


@pytest.fixture(scope="module")
def sockets() -> Iterator[Path]:
    """Make a folder for a Unix socket: short, and open to the server's user."""
    folder = Path(tempfile.mkdtemp(prefix="mm-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_peer_is_told_from_a_password(check, template, sockets) -> None:
    """On the socket the system's user counts: the password of the URL is right, and not looked at."""
    settings = {"unix_socket_directories": str(sockets)}
    hba = ["local all masuka peer", "local all all trust", "host all all 127.0.0.1/32 scram-sha-256"]
    with EmbeddedPostgres(template=template, settings=settings, hba=hba) as server:
        by_socket = f"postgresql://masuka:{server.password}@/masuka?host={sockets}&port={server.port}"
        result = check(by_socket)
        over_tcp = check(server.url)
        missing = check(by_socket.replace("masuka:", "stranger:", 1))
        superuser = check(by_socket.replace(f"masuka:{server.password}", "postgres", 1))

    assert failed_at(result, "authentication") == "pg-peer"
    assert result.finding.culprit == "masuka"
    assert "none is needed: it is a socket of this machine" == text_of(result, "name")
    assert "none on a local socket" == text_of(result, "TLS")
    assert over_tcp.verdict == "pass"
    assert failed_at(missing, "authentication") == "pg-no-role"
    assert "role postgres, no password was asked for" == text_of(superuser, "authentication")


def test_a_socket_that_is_not_there_fails_at_tcp(check, sockets) -> None:
    """No server listens on the path."""
    assert failed_at(check(f"postgresql://masuka:x@/masuka?host={sockets}&port=1"), "TCP") == "pg-refused"


@pytest.fixture(scope="module")
def with_tls() -> Iterator[EmbeddedPostgres]:
    """Give a server that offers TLS, demands it of `masuka`, and has a certificate that nobody vouches for.

    The wheel's server is built without TLS, so it is the system's, which not every machine has.
    """
    openssl = shutil.which("openssl")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if openssl is None or not programs:
        pytest.skip("no PostgreSQL of the system's, or no openssl to make a certificate with")
    hba = ["hostssl all masuka 127.0.0.1/32 scram-sha-256"]
    with EmbeddedPostgres(programs=programs[-1].parent, hba=hba) as server:
        server.stop()
        key, certificate = server.data / "server.key", server.data / "server.crt"
        made = [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ]
        subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        owner = server.data.stat()
        for path in (key, certificate):
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)
        server.configure({"ssl": "on"})
        server.start()
        yield server


def test_tls_is_shown_with_what_it_proves(check, with_tls) -> None:
    """Libpq's default takes TLS where it is offered, and verifies nothing."""
    result = check(with_tls.url)

    assert result.verdict == "pass"
    assert text_of(result, "TLS").startswith("TLSv1.")
    assert text_of(result, "TLS").endswith("its certificate is not verified (sslmode=prefer)")


def test_a_plain_connection_where_tls_is_demanded_fails_at_tls(check, with_tls) -> None:
    """With hostssl alone a plain connection finds no entry."""
    result = check(f"{with_tls.url}?sslmode=disable")

    assert failed_at(result, "TLS") == "pg-ssl"
    assert result.finding.remedies[0].command.endswith("?sslmode=require")


def test_a_certificate_that_nobody_vouches_for_fails_at_tls(check, with_tls, tmp_path) -> None:
    """verify-full needs an authority; with the certificate itself as one, the name must match too."""
    certificate = tmp_path / "authority.crt"
    shutil.copyfile(with_tls.data / "server.crt", certificate)
    named = with_tls.url.replace("127.0.0.1", "localhost")

    without = check(f"{named}?sslmode=verify-full&sslrootcert={tmp_path}/missing.crt")
    wrong_name = check(f"{with_tls.url}?sslmode=verify-full&sslrootcert={certificate}")
    right = check(f"{named}?sslmode=verify-full&sslrootcert={certificate}")

    assert failed_at(without, "TLS") == "pg-ssl"
    assert failed_at(wrong_name, "TLS") == "pg-ssl"
    assert right.verdict == "pass"
    assert text_of(right, "TLS").endswith("its certificate is verified (sslmode=verify-full)")


def test_tls_that_is_required_and_absent_fails_at_tls(check, postgres) -> None:
    """The server speaks, and offers none."""
    assert failed_at(check(f"{postgres.url}?sslmode=require"), "TLS") == "pg-ssl"


def test_a_role_without_an_entry_is_told_from_tls(check, with_tls) -> None:
    """Neither with nor without TLS is there a line for this role."""
    result = check(with_tls.url_for("stranger", "x", "masuka"))

    assert failed_at(result, "authentication") == "pg-hba"


def test_a_server_that_does_not_answer_the_question_still_passes(check, postgres, monkeypatch) -> None:
    """What speaks the protocol and knows no such catalog is let be: its words are the reason of two skips."""
    monkeypatch.setattr(database_connect, "_QUESTION", "SELECT no_such_column")
    result = check(postgres.url)

    assert result.verdict == "pass"
    assert verdicts(result)["privileges"] == "skip"
    assert text_of(result, "connection slots").startswith("the server did not say: ")


@pytest.mark.parametrize(
    "scheme_and_code",
    [("postgres", "bad-url"), ("postgresql+asyncpg", "missing-module"), ("postgresql", "bad-url")],
    ids=lambda pair: pair[0],
)
def test_a_url_that_the_backends_driver_cannot_read_fails_in_its_layer(
    bench, make_config, postgres, backend_python, scheme_and_code: tuple[str, str]
) -> None:
    """The server would let libpq in; the backend's SQLAlchemy 2.1 with psycopg2 alone would not get that far."""
    scheme, code = scheme_and_code
    python = backend_python("sqlalchemy-2.1.9", modules=("sqlalchemy", "psycopg2"))
    config = make_config(postgres.url.replace("postgresql", scheme, 1), python=python)
    write_backend(Path(config.cwd))

    result = bench.run(DatabaseCheck(), config)

    assert failed_at(result, "url") == code
    assert any(
        "postgresql+psycopg2://masuka:…@" in (fix.command or "") for fix in result.finding.remedies
    ) or (code == "missing-module")
    assert postgres.password not in repr(result)


def test_a_url_that_the_backend_mends_itself_passes(bench, make_config, postgres, backend_python) -> None:
    """`url.replace("postgres://", …)` is what many backends do; they are not refused for it."""
    python = backend_python("sqlalchemy-2.1.9", modules=("sqlalchemy", "psycopg2"))
    config = make_config(postgres.url.replace("postgresql", "postgres", 1), python=python)
    write_backend(Path(config.cwd), 'URL = URL.replace("postgres://", "postgresql+psycopg2://", 1)')

    assert bench.run(DatabaseCheck(), config).verdict == "pass"


def write_backend(folder: Path, mend: str = "") -> None:
    (folder / "app").mkdir(exist_ok=True)
    source = f'import os\nfrom sqlalchemy import create_engine\nURL = os.environ["DATABASE_URL"]\n{mend}\n'
    (folder / "app" / "main.py").write_text(f"{source}engine = create_engine(URL)\n")
