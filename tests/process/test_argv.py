from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from masuka_magic.config.model import ConfigError, StartConfig, Target
from masuka_magic.process.argv import BOOTSTRAP, build_argv

APP = StartConfig(Target("app", "app.main:app"), cwd="/srv", python="/py")
Server = Literal["uvicorn", "hypercorn", "gunicorn"]
SERVERS: tuple[Server, ...] = ("uvicorn", "hypercorn", "gunicorn")
FACTORY = replace(APP, target=Target("app", "app.main:create_app"), factory=True)


def words(config: StartConfig, port: int = 8000, **options: str) -> str:
    argv = build_argv(config, port, **options)
    return " ".join("BOOTSTRAP" if word == BOOTSTRAP else word for word in argv)


def test_uvicorn() -> None:
    """The server runs under the bootstrap with its own command line, the user's words last."""
    config = replace(APP, args=("--reload", "--workers", "2"))
    server = "uvicorn app.main:app --host 127.0.0.1 --port 8000 --reload --workers 2"
    expected = f"/py BOOTSTRAP --app app.main:app -m {server}"
    assert expected == words(config)


def test_a_factory_is_named_as_each_server_wants_it() -> None:
    """Only uvicorn has an option for it, the others take a call."""
    head = "/py BOOTSTRAP --app app.main:create_app --factory -m "
    assert [
        head + "uvicorn app.main:create_app --factory --host 127.0.0.1 --port 8000",
        head + "hypercorn app.main:create_app() --bind 127.0.0.1:8000",
        head + "gunicorn app.main:create_app() --bind 127.0.0.1:8000",
    ] == [words(replace(FACTORY, server=server)) for server in SERVERS]


def test_gunicorn_gets_a_worker_unless_the_user_chose_one() -> None:
    """The worker class is named when one is given to us and the arguments name none."""
    config = replace(APP, server="gunicorn")
    assert words(config, gunicorn_worker="w.W").endswith("--bind 127.0.0.1:8000 --worker-class w.W")
    for args in (("-k", "sync"), ("-ksync",), ("--worker-class=sync",), ("--worker-class", "sync")):
        assert "w.W" not in words(replace(config, args=args), gunicorn_worker="w.W")


@pytest.mark.parametrize("server", ["hypercorn", "gunicorn"])
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_is_bracketed_in_a_bind(server: Server, host: str) -> None:
    """HOST:PORT needs brackets around an address with colons."""
    assert words(replace(APP, server=server, host=host)).endswith("--bind [::1]:8000")


def test_ipv6_is_not_bracketed_for_uvicorn() -> None:
    """Its host is an option of its own."""
    assert words(replace(APP, host="::1")).endswith("--host ::1 --port 8000")


def test_script_module_and_command() -> None:
    """The first two run under the bootstrap, a command as it is; port and host are filled in everywhere."""
    args = ("--port={port}", "{host}:{port}", '{"a": 1}')
    script = StartConfig(Target("script", "serve.py"), cwd="/srv", python="/py", args=args)
    tail = '--port=9001 127.0.0.1:9001 {"a": 1}'
    assert f"/py BOOTSTRAP serve.py {tail}" == words(script, 9001)
    assert f"/py BOOTSTRAP -m pkg.serve {tail}" == words(
        replace(script, target=Target("module", "pkg.serve")), 9001
    )
    command = Target("command", "x", ("node", "s.js", "-p", "{port}"))
    assert f"node s.js -p 9001 {tail}" == words(replace(script, target=command), 9001)


def test_a_shell_gets_its_arguments_as_parameters() -> None:
    """With a shell, $1 is the first of the arguments."""
    shell = StartConfig(
        Target("command", "x", ("/bin/sh", "-c", 'serve -p {port} "$@"')),
        cwd="/srv",
        python="/py",
        args=("-v",),
    )
    assert ("/bin/sh", "-c", 'serve -p 8000 "$@"', "sh", "-v") == build_argv(shell, 8000)


@pytest.mark.parametrize(
    "args",
    [("--port", "8000"), ("--port=8000",), ("--port", "{port}"), ("--host", "127.0.0.1"), ("--host={host}",)],
)
def test_an_address_that_agrees_is_not_given_twice(args: tuple[str, ...]) -> None:
    """What the user's own arguments say in the same sense is left to them."""
    argv = build_argv(replace(APP, args=args), 8000)
    assert [1, 1] == [
        sum(word == option or word.startswith(f"{option}=") for word in argv)
        for option in ("--host", "--port")
    ]


@pytest.mark.parametrize(
    "args",
    [
        ("--bind", "127.0.0.1:8000"),
        ("-b127.0.0.1:8000",),
        ("-b", "0.0.0.0:1", "--bind={host}:{port}"),
        ("-b", "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("server", ["hypercorn", "gunicorn"])
def test_a_bind_that_agrees_is_not_given_twice(server: Server, args: tuple[str, ...]) -> None:
    """A second bind to one address would be refused by the server; further addresses are the user's matter."""
    argv = build_argv(replace(APP, server=server, args=args), 8000)
    assert argv[argv.index(server) + 2 :] == tuple(
        word.replace("{host}", "127.0.0.1").replace("{port}", "8000") for word in args
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            replace(APP, args=("--port", "9000")),
            "args: --port 9000 contradicts port = 8000; leave it out, or set port = 9000",
        ),
        (
            replace(APP, args=("--host=0.0.0.0",)),
            'args: --host=0.0.0.0 contradicts host = "127.0.0.1"; leave it out, or set host = "0.0.0.0"',
        ),
        (
            replace(APP, port=None, args=("--port", "9000")),
            'args: --port 9000 contradicts port = "auto"; leave it out, or set port = 9000',
        ),
        (
            replace(APP, server="gunicorn", args=("-b", ":9000")),
            'args: -b :9000 contradicts host = "127.0.0.1", port = 8000; leave it out, or set host and port',
        ),
        (
            replace(APP, server="hypercorn", args=("-b", "unix:/s")),
            'args: -b unix:/s contradicts host = "127.0.0.1", port = 8000; leave it out, or set host and port',
        ),
        (
            replace(APP, args=("--uds", "/tmp/s")),
            "args: --uds /tmp/s: the backend is asked at host and port; leave it out",
        ),
    ],
)
def test_another_address_is_one_clear_line(config: StartConfig, message: str) -> None:
    """Nothing is started that would be asked at the wrong address."""
    with pytest.raises(ConfigError) as refused:
        build_argv(config, config.port or 8123)
    assert message == str(refused.value)
