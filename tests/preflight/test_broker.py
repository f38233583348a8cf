"""The Redis and the broker that a backend will see: a real server where there is one, its bytes everywhere."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from masuka_magic.preflight.broker import BrokerCheck, broker_checks
from masuka_magic.preflight.check import CheckContext, CheckResult
from masuka_magic.preflight.redis_findings import judge
from masuka_magic.preflight.redis_talk import RedisAnswer, RedisUrl, parse_redis_url

# As redis-server 7.0.15 answers on its socket.
NOAUTH = b"-NOAUTH Authentication required.\r\n"
WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
SPARE = (
    b"-ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?\r\n"
)
RANGE = b"-ERR DB index is out of range\r\n"
NOPERM = b"-NOPERM this user has no permissions to run the '%s' command\r\n"
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
FULL = b"-ERR max number of clients reached\r\n"
INFO_TEXT = b"# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\n"
INFO = b"$%d\r\n%s\r\n" % (len(INFO_TEXT), INFO_TEXT)


class FakeRedis:
    """Answers as a Redis does whose default user has this password; `databases` is 16 as in the real one."""

    def __init__(self, password: str = "", instead: bytes | None = None) -> None:
        self._password = password
        self._instead = instead

    def serve(self, connection: socket.socket) -> None:
        """Answer each command of one client until it goes."""
        known = not self._password
        if self._instead is not None:
            connection.recv(1000)
            connection.sendall(self._instead)
            return
        with connection.makefile("rb") as lines:
            while head := lines.readline():
                if head[:1] != b"*":  # A line of another protocol: the real one waits for more.
                    lines.read()
                    return
                words = []
                for _ in range(int(head[1:])):
                    length = int(lines.readline()[1:])
                    words.append(lines.read(length + 2)[:-2].decode())
                reply, known = self._reply(words, known=known)
                connection.sendall(reply)

    def _reply(self, words: list[str], *, known: bool) -> tuple[bytes, bool]:
        command = words[0]
        if command == "AUTH":
            user = words[1] if len(words) > 2 else "default"
            if not self._password and len(words) == 2:
                return SPARE, known
            right = user == "default" and words[-1] == (self._password or words[-1])
            return (b"+OK\r\n", True) if right else (WRONGPASS, known)
        if not known:
            return NOAUTH, known
        if command == "SELECT":
            return (b"+OK\r\n" if int(words[1]) < 16 else RANGE), known
        return {"PING": b"+PONG\r\n", "INFO": INFO}[command], known


@contextmanager
def listening(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """Listen on a port of our own; every connection is served in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    serve(connection)
                except OSError:
                    return  # The client has gone.

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # Closed: the test is over.
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def real_redis(port: int, *options: str) -> Iterator[int]:
    """Run the system's redis-server, which not every machine has."""
    program = shutil.which("redis-server")
    assert program is not None
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/", *options]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 20
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield port
        finally:
            server.terminate()


def without_redis() -> bool:
    return shutil.which("redis-server") is None


@pytest.fixture(
    params=["fake", pytest.param("real", marks=pytest.mark.skipif(without_redis(), reason="no redis-server"))]
)
def redis(request: pytest.FixtureRequest, take_port: Callable[[], int]) -> Iterator[Callable[[str], int]]:
    """Give a function that starts a server with a password ("": none) and returns its port."""
    with ExitStack() as held:

        def start(password: str) -> int:
            if request.param == "fake":
                return held.enter_context(listening(FakeRedis(password).serve))
            options = ["--requirepass", password] if password else []
            return held.enter_context(real_redis(take_port(), *options))

        yield start


@pytest.fixture
def check(bench, make_config):
    """Check what a backend with this environment will see."""

    def run(environ: dict[str, str], *, limit_s: float = 20.0) -> CheckResult:
        config = make_config()
        (one,) = broker_checks(config, environ)
        assert isinstance(one, BrokerCheck)
        assert one.name == "redis"
        timed = BrokerCheck(one._sources, limit_s=limit_s)
        return timed.run(CheckContext(config, bench.said.append, bench.cancelled, environ))

    return run


def code_of(result: CheckResult) -> str:
    """Return the code of a warning: there is no worse verdict."""
    assert result.verdict == "warn", result
    assert result.finding is not None
    return result.finding.code


def test_without_a_variable_there_is_no_check(make_config) -> None:
    """It is not even listed."""
    environ = {"REDIS_URL": "", "CELERY_RESULT_BACKEND": "rpc://", "CELERY_BROKER_URL": "memory://"}

    assert broker_checks(make_config(), environ) == ()
    assert broker_checks(make_config(), {}) == ()


def test_a_redis_that_answers_passes_with_its_version(check, redis) -> None:
    """No password is set and none given."""
    port = redis("")
    result = check({"REDIS_URL": f"redis://127.0.0.1:{port}/0"})

    assert result.verdict == "pass"
    assert re.match(r"Redis \d+\.\d+", result.text)
    assert f" at 127.0.0.1:{port}/0, answers in " in result.text
    assert result.text.endswith("(REDIS_URL)")


def test_a_password_and_a_database_of_the_url_are_used(check, redis) -> None:
    """Both are sent; the password is percent-decoded and not shown."""
    url = f"redis://default:p%40ss%2Fw@localhost:{redis('p@ss/w')}/3"
    result = check({"REDIS_URL": url, "CELERY_BROKER_URL": url})

    assert result.verdict == "pass", result
    assert "(REDIS_URL, CELERY_BROKER_URL)" in result.text
    assert ["REDIS_URL", "CELERY_BROKER_URL"] == [layer.name for layer in result.layers]
    assert "p@ss/w" not in repr(result)


def test_a_missing_password_is_told(check, redis) -> None:
    """NOAUTH: none was given."""
    result = check({"REDIS_URL": f"redis://127.0.0.1:{redis('secret-1')}"})

    assert code_of(result) == "redis-auth"
    assert "gives no password" in result.text
    assert "NOAUTH Authentication required." == result.finding.evidence[0].text


@pytest.mark.parametrize("user", ["", "somebody"])
def test_a_wrong_password_is_told(check, redis, user: str) -> None:
    """WRONGPASS, with and without a user."""
    result = check({"REDIS_URL": f"redis://{user}:guess-1@127.0.0.1:{redis('secret-1')}"})

    assert code_of(result) == "redis-auth"
    assert "rejected" in result.text
    assert "guess-1" not in repr(result)


def test_a_database_that_is_not_there_is_told(check, redis) -> None:
    """Redis has sixteen unless told otherwise."""
    result = check({"REDIS_URL": f"redis://127.0.0.1:{redis('')}/99"})

    assert code_of(result) == "redis-database"
    assert "DB index is out of range" in result.text


def test_a_password_that_is_not_asked_for_passes(check, redis) -> None:
    """Whether the client minds depends on the client; where it is not known, the server lets it in."""
    result = check({"REDIS_URL": f"redis://:spare-1@127.0.0.1:{redis('')}"})

    assert result.verdict == "pass"
    assert "it asks for no password, the URL gives one" in result.text


def test_tls_that_is_not_spoken_is_told(check, redis) -> None:
    """A Redis without TLS takes the offer for the beginning of a command, and waits."""
    result = check({"REDIS_URL": f"rediss://127.0.0.1:{redis('')}"}, limit_s=1.0)

    assert code_of(result) == "redis-tls"


@pytest.mark.skipif(without_redis(), reason="no redis-server")
def test_a_unix_socket_is_asked(check, take_port, tmp_path: Path) -> None:
    """unix:///path, as redis-py reads it."""
    path = tmp_path / "s"
    with real_redis(take_port(), "--unixsocket", str(path)):
        result = check({"REDIS_URL": f"unix://{path}?db=1"})

    assert result.verdict == "pass", result


def test_a_stopped_redis_is_told_with_the_command_that_starts_it(check, free_port) -> None:
    """Connection refused, on this machine."""
    result = check({"REDIS_URL": f"redis://localhost:{free_port}/0"})

    assert code_of(result) == "redis-refused"
    assert f"Redis refused the connection at localhost:{free_port} (REDIS_URL)" == result.text
    assert "redis-server" in (result.finding.remedies[0].command or "redis-server")
    assert "the URL comes from REDIS_URL" == result.finding.notes[-1]


def test_an_unknown_host_is_told(check) -> None:
    """A service's name of Docker Compose, or RFC 6761's .invalid."""
    assert code_of(check({"REDIS_URL": "redis://cache.invalid:6379"})) == "redis-dns"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (LOADING * 2, "redis-loading"),
        (FULL, "redis-refused"),
        (
            b"-DENIED Redis is running in protected mode because protected mode is enabled.\r\n",
            "redis-refused",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "redis-not-redis"),
        (b"AMQP\x00\x00\x09\x01", "redis-not-redis"),
        (b"", "redis-not-redis"),
    ],
)
def test_other_answers_are_told_apart(check, answer: bytes, code: str) -> None:
    """Loading, full, protected, and servers of another kind."""
    with listening(FakeRedis(instead=answer).serve) as port:
        assert code_of(check({"REDIS_URL": f"redis://127.0.0.1:{port}"})) == code


def test_a_silent_server_costs_the_limit(check) -> None:
    """The limit is for all URLs together, and for the whole conversation."""
    release = threading.Event()
    with listening(lambda _: release.wait(30)) as port:
        begun = time.monotonic()
        result = check(
            {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/1"},
            limit_s=0.5,
        )
        took_s = time.monotonic() - begun
        release.set()

    assert code_of(result) == "redis-unreachable"
    assert took_s < 5


def test_an_answer_that_drips_does_not_hold_up_the_check(check) -> None:
    """Each byte comes in time, the answer as a whole does not."""
    release = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not release.wait(0.05):
            connection.sendall(b"+")

    with listening(drip) as port:
        begun = time.monotonic()
        result = check({"REDIS_URL": f"redis://127.0.0.1:{port}"}, limit_s=0.5)
        took_s = time.monotonic() - begun
        release.set()

    assert code_of(result) == "redis-unreachable"
    assert took_s < 5


def test_a_broker_of_amqp_is_reached_and_no_login_claimed(check, free_port) -> None:
    """Of several, one that answers is enough."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = check(
            {"CELERY_BROKER_URL": f"amqp://g:g@127.0.0.1:{free_port}//;amqp://g:g@127.0.0.1:{port}//"}
        )
    stopped = check({"CELERY_BROKER_URL": f"amqp://g:g@127.0.0.1:{free_port}//"})

    assert (result.verdict, result.text) == (
        "pass",
        f"the broker listens at 127.0.0.1:{port}; a login was not tried (CELERY_BROKER_URL)",
    )
    assert code_of(stopped) == "redis-refused"


def test_the_environment_hides_the_file(make_config, tmp_path: Path) -> None:
    """`.env` counts where the environment says nothing, as with DATABASE_URL; an empty variable hides it too."""
    (tmp_path / ".env").write_text('HOST=cache\nREDIS_URL="redis://${HOST}/0"\n')

    (from_file,) = broker_checks(make_config(), {})
    (from_environment,) = broker_checks(make_config(), {"REDIS_URL": "redis://other"})

    assert isinstance(from_file, BrokerCheck)
    assert isinstance(from_environment, BrokerCheck)
    assert [("REDIS_URL in .env", "redis://cache/0")] == [(one.place, one.url) for one in from_file._sources]
    assert ["redis://other"] == [one.url for one in from_environment._sources]
    assert broker_checks(make_config(), {"REDIS_URL": ""}) == ()


def test_an_interrupt_ends_it(check, bench) -> None:
    """What has been asked is left to itself."""
    bench.cancelled.set()

    assert ("skip", "interrupted") == (
        (result := check({"REDIS_URL": "redis://127.0.0.1:1"})).verdict,
        result.text,
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", RedisUrl()),
        ("redis://h", RedisUrl("h")),
        ("redis://:p@h:7/2", RedisUrl("h", 7, password="p", database=2)),
        ("redis://u:p%2F@[::1]:7", RedisUrl("::1", 7, user="u", password="p/")),
        ("rediss://h?ssl_cert_reqs=none", RedisUrl("h", tls=True, verify=False)),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/c", RedisUrl("h", tls=True, authority="/c")),
        ("redis://h?db=4&password=q", RedisUrl("h", password="q", database=4)),
        ("unix:///run/r.sock?db=1", RedisUrl(path="/run/r.sock", database=1)),
        ("redis+socket:///run/r.sock?virtual_host=2", RedisUrl(path="/run/r.sock", database=2)),
        ("redis://h/name", None),
        ("redis://h:port", None),
    ],
)
def test_a_url_is_read_as_redis_py_does(url: str, expected: RedisUrl | None) -> None:
    """Host, port, user, password, database, TLS; None for one that redis-py would not take either."""
    assert expected == parse_redis_url(url)


@pytest.mark.parametrize(
    ("replies", "resp3", "verdict"),
    [
        ({"AUTH": SPARE, "PING": b"+PONG"}, False, "warn"),
        ({"AUTH": SPARE, "PING": b"+PONG"}, True, "pass"),
        ({"AUTH": b"-ERR Client sent AUTH, but no password is set", "PING": b"+PONG"}, False, "warn"),
        ({"AUTH": b"+OK", "PING": NOPERM % b"ping"}, None, "pass"),
        ({"AUTH": b"+OK", "SELECT": NOPERM % b"select", "PING": b"+PONG"}, None, "warn"),
        ({"SELECT": b"-ERR SELECT is not allowed in cluster mode", "PING": b"+PONG"}, None, "warn"),
        ({"PING": b"-MASTERDOWN Link with MASTER is down"}, None, "warn"),
    ],
)
def test_replies_are_judged_for_the_backends_client(replies, resp3, verdict) -> None:
    """redis-py before 8 refuses a server that has no password where the URL gives one; a user may lack PING."""
    answer = RedisAnswer({name: reply.decode().strip() for name, reply in replies.items()}, "7.0.15")

    assert verdict == judge(RedisUrl(database=1, password="x"), answer, resp3=resp3).verdict
