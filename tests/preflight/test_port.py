from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from masuka_magic.preflight.check import CheckResult
from masuka_magic.preflight.holder import shortened
from masuka_magic.preflight.port import PortCheck, pick_free_port
from masuka_magic.process.identity import ProcessIdentity, identify
from masuka_magic.process.record import Record, write_record

SERVER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
held = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator[object]:
    """Start a process that listens on an address; its first argument is shown in its command line."""
    processes: list[subprocess.Popen[str]] = []

    def start(host: str, port: int, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SERVER, host, str(port), *more]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        return process

    yield start
    for process in processes:
        process.communicate()


@pytest.fixture
def check(bench, make_config):
    def run(port: int | None, host: str = "127.0.0.1", **settings: object) -> CheckResult:
        result: CheckResult = bench.run(PortCheck(), make_config(port=port, host=host, **settings))
        return result

    return run


def needs_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_free_port_passes(check, free_port, host) -> None:
    """Nobody listens: the text says so, and the port is still free afterwards."""
    assert CheckResult("pass", f"{free_port} is free") == check(free_port, host)
    assert check(free_port, host).verdict == "pass"


def test_a_port_in_time_wait_is_free(check, free_port) -> None:
    """A server that has just closed a connection leaves the port usable, as it is for servers."""
    with socket.create_server(("127.0.0.1", free_port)) as server:
        client = socket.create_connection(("127.0.0.1", free_port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()

    assert check(free_port).verdict == "pass"


def test_a_held_port_names_its_holder_and_offers_a_free_one(check, hold, free_port) -> None:
    """The finding has pid, command, user and time, and the next free port as it would be pasted."""
    holder = hold("127.0.0.1", free_port)

    result = check(free_port)

    assert result.verdict == "fail"
    finding = result.finding
    assert finding.code == "port-in-use"
    assert finding.culprit == f"127.0.0.1:{free_port}"
    program = Path(sys.executable).name
    assert finding.title.startswith(f"port {free_port} is held by pid {holder.pid}: {program} -c ")
    assert finding.notes[0].startswith("started by ")
    assert "running since " in finding.notes[0]
    offered = finding.remedies[0].command.removeprefix("port = ")
    assert finding.remedies[1].command == f"--port {offered}"
    assert int(offered) > free_port
    assert check(int(offered)).verdict == "pass"


@pytest.fixture
def record_of(tmp_path):
    """Write a run's folder and record, as the start that made the holder would have."""

    def write(leader: int, kernel: ProcessIdentity, folder: Path) -> None:
        process = identify(leader)
        assert process is not None
        record = Record(
            service="g",
            run=str(folder),
            argv=(),
            cwd="/content/shop",
            host="127.0.0.1",
            port=8000,
            url="http://127.0.0.1:8000",
            process=process,
            kernel=kernel,
            started_at="2026-01-01T00:00:00+00:00",
            config={"app": "main:app"},
            fingerprint="",
        )
        write_record(folder, record, str)

    return write


@pytest.mark.parametrize(
    ("whose", "words"),
    [
        ("ours", "this kernel"),
        ("theirs", "another kernel"),
        ("nobody", "an earlier kernel, which has gone"),
    ],
)
def test_a_backend_of_ours_is_named(
    check, hold, record_of, *, free_port, tmp_path, monkeypatch, whose, words
) -> None:
    """The holder carries a run value whose folder has its record: service, target, kernel, how to stop it."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("MASUKA_RUN", str(folder))
    holder = hold("127.0.0.1", free_port)
    monkeypatch.delenv("MASUKA_RUN")
    kernel = identify(os.getpid() if whose == "ours" else os.getppid())
    assert kernel is not None
    record_of(holder.pid, replace(kernel, start=1) if whose == "nobody" else kernel, folder)

    finding = check(free_port).finding

    title = (
        f'port {free_port} is held by the masuka backend "g" (main:app), pid {holder.pid}, started by {words}'
    )
    assert title == finding.title
    assert finding.notes[0].endswith(", in /content/shop")
    offered = [remedy.command for remedy in finding.remedies]
    assert (whose != "theirs") == ("%masuka_stop g" in offered)
    assert any(command.startswith("port = ") for command in offered)


def test_a_run_without_a_record_is_not_believed(check, hold, free_port, tmp_path, monkeypatch) -> None:
    """A run value that leads nowhere is told, and the process described like any other."""
    monkeypatch.setenv("MASUKA_RUN", str(tmp_path / "gone"))
    holder = hold("127.0.0.1", free_port)

    finding = check(free_port).finding

    assert finding.title.startswith(f"port {free_port} is held by pid {holder.pid}: ")
    assert "it was started by masuka_magic, but its record cannot be read here" in finding.notes


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (
            "/usr/bin/python3 /opt/lib/masuka_magic/process/bootstrap.py --app a:b -m uvicorn a:b",
            "python3 -m uvicorn a:b",
        ),
        ("/x/python /y/process/bootstrap.py --app a:b --factory -m uvicorn a:b", "python -m uvicorn a:b"),
        ("/usr/sbin/nginx -g daemon", "nginx -g daemon"),
        ("nginx: master process /usr/sbin/nginx", "nginx: master process /usr/sbin/nginx"),
        ("/usr/sbin/nginx", "/usr/sbin/nginx"),
        ("run --token hunter22\nnow", "run --token *** now"),
        ("x" * 100, "x" * 79 + "…"),
    ],
)
def test_commands_are_shortened(command, shown) -> None:
    """The program by its name, without our bootstrap, on one line, masked and cut."""
    assert shown == shortened(command, frozenset({"hunter22"}))


def test_a_name_of_both_families_says_which_address_is_held(check, hold, free_port, monkeypatch) -> None:
    """Localhost may be two addresses; a listener at one of them leaves the other free."""
    needs_ipv6()
    real = socket.getaddrinfo

    def both(host: str | None, *args: Any, **settings: Any) -> list[Any]:
        hosts = ["127.0.0.1", "::1"] if host == "localhost" else [host]
        return [row for one in hosts for row in real(one, *args, **settings)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    hold("0.0.0.0", free_port)

    finding = check(free_port, "localhost").finding

    assert "localhost is 127.0.0.1 and ::1; the port is held at 0.0.0.0 and free at ::1" in finding.notes


@pytest.mark.parametrize(
    ("theirs", "ours"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "localhost")]
)
def test_a_wildcard_and_an_address_are_in_each_others_way(check, hold, free_port, theirs, ours) -> None:
    """A listener on 0.0.0.0 holds 127.0.0.1, and the other way round."""
    holder = hold(theirs, free_port)

    result = check(free_port, ours)

    assert result.verdict == "fail"
    assert f"pid {holder.pid}" in result.text


def test_a_listener_of_the_other_family_is_a_warning_beside_a_wildcard(check, hold, free_port) -> None:
    """We can bind 0.0.0.0 beside somebody's ::1, but whoever says localhost may reach the other one."""
    needs_ipv6()
    holder = hold("::1", free_port)

    result = check(free_port, "0.0.0.0")

    assert result.verdict == "warn"
    assert f"{free_port} is free at 0.0.0.0, but pid {holder.pid}" in result.text
    assert result.text.endswith(f"listens at [::1]:{free_port}")


def test_the_other_familys_loopback_is_nothing_to_127_0_0_1(check, hold, free_port) -> None:
    """A listener at ::1 is not in the way of 127.0.0.1."""
    needs_ipv6()
    hold("::1", free_port)

    assert check(free_port, "127.0.0.1").verdict == "pass"


def test_both_loopbacks_are_apart_under_ipv6_too(check, hold, free_port) -> None:
    """A listener at ::1 holds ::1 and `::`."""
    needs_ipv6()
    hold("::1", free_port)

    assert ["fail", "fail"] == [check(free_port, host).verdict for host in ("::1", "::")]


def test_a_port_that_this_process_holds_is_told(check, free_port) -> None:
    """When the kernel itself listens there the finding says so."""
    with socket.create_server(("127.0.0.1", free_port)):
        result = check(free_port)

    assert f"held by pid {os.getpid()}" in result.text
    assert "that is this kernel itself" in result.finding.notes


def test_a_secret_in_the_holders_command_is_masked(check, hold, free_port) -> None:
    """A foreign command line is shown without the configured secrets, on one line, cut."""
    hold("127.0.0.1", free_port, "--token", "hunter22")

    result = check(free_port, secrets=frozenset({"hunter22"}))

    assert "hunter22" not in repr(result)
    assert "\n" not in result.text


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_told(check, free_port, host) -> None:
    """An address of documentation (RFC 5737) and a name that does not resolve are bind-address, not a busy port."""
    result = check(free_port, host)

    assert result.verdict == "fail"
    assert result.finding.code == "bind-address"
    assert result.finding.culprit == host


def test_a_privileged_port_is_told(check, monkeypatch) -> None:
    """The kernel's EACCES is port-permission, with a port above 1023 as the fix."""
    real = socket.socket.bind

    def bind(self: socket.socket, address: tuple[object, ...]) -> None:
        if address[1] == 80:
            raise PermissionError(13, "Permission denied")
        real(self, address)

    monkeypatch.setattr(socket, "socket", type("Socket", (socket.socket,), {"bind": bind}))

    result = check(80)

    assert result.finding.code == "port-permission"
    assert int(result.finding.remedies[0].command.removeprefix("port = ")) >= 8000


def test_auto_has_no_port_to_check(check) -> None:
    """With "auto" the port is picked before, so there is nothing to fail."""
    assert check(None).verdict == "skip"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_picked_port_can_be_bound(check, host) -> None:
    """What "auto" picks is free and lies below the kernel's range for outgoing connections."""
    port = pick_free_port(host)

    assert 20000 <= port <= 32000
    assert check(port, host).verdict == "pass"


def test_a_host_that_cannot_be_bound_has_no_free_port() -> None:
    """Picking a port on an address that is not ours is an error, not an endless search."""
    with pytest.raises(OSError, match="assign"):
        pick_free_port("192.0.2.1")
