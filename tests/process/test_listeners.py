from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from masuka_magic.process import listeners as room
from masuka_magic.process.listeners import Listener, describe_process, listeners, listening_rows, owners_among

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F40 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 00000000:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 4713 1 0 100 0 0 10 0
"""
TABLE_6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 \
00000000     0        0 4714 1 0 100 0 0 10 0
   1: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 \
00000000     0        0 4715 1 0 100 0 0 10 0
"""


@pytest.mark.skipif(sys.byteorder == "big", reason="the table was taken on a little-endian machine")
@pytest.mark.parametrize(
    ("table", "port", "rows"),
    [
        (TABLE, 8000, [("127.0.0.1", 4711)]),
        (TABLE, 8001, [("0.0.0.0", 4713)]),
        (TABLE, 8002, []),
        (TABLE_6, 8000, [("::1", 4714), ("::", 4715)]),
        ("", 8000, []),
    ],
)
def test_the_kernels_table_is_read(table, port, rows) -> None:
    """Only listening rows with the port count; addresses are turned into people's form."""
    assert rows == list(listening_rows(table, port))


@pytest.fixture(params=["the kernel's tables", "psutil"])
def way(request, monkeypatch):
    """Both ways of looking, where the machine has both."""
    if request.param == "psutil":
        monkeypatch.setattr(room, "_has_tables", lambda: False)
    elif not Path("/proc/net/tcp").exists():
        pytest.skip("this system has no /proc/net")
    return request.param


def test_a_listener_of_this_process_is_found(way, free_port) -> None:
    """Address, family and pid are those of the socket."""
    with socket.create_server(("127.0.0.1", free_port)):
        found = listeners(free_port)

    assert [("127.0.0.1", "IPv4", os.getpid())] == [(one.address, one.family, one.pid) for one in found]
    assert listeners(free_port) == []


def test_a_connected_socket_is_no_listener(way, free_port) -> None:
    """A connection on the port counts for nobody."""
    with socket.create_server(("127.0.0.1", free_port)) as server:
        client = socket.create_connection(("127.0.0.1", free_port))
        accepted, _ = server.accept()
    with client, accepted:
        assert listeners(free_port) == []


def test_the_owner_is_looked_for_among_the_given_processes_alone(way, free_port) -> None:
    """A stranger's listener belongs to none of ours; a process that is gone is passed over."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with socket.create_server(("127.0.0.1", free_port)):
        assert owners_among(free_port, [os.getppid(), gone.pid]) is None
        assert os.getpid() == owners_among(free_port, [gone.pid, os.getpid()])
    assert owners_among(free_port, [os.getpid()]) is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="forked holders are told apart by /proc alone")
def test_a_socket_that_forked_workers_share_belongs_to_the_oldest(free_port) -> None:
    """Of a server and its workers, the server is named: it opened the socket."""
    code = (
        "import os, socket, sys, time\n"
        f"server = socket.create_server(('127.0.0.1', {free_port}))\n"
        "time.sleep(0.05)\n"
        "if os.fork() == 0:\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "print('forked', flush=True)\n"
        "sys.stdin.read()\n"
        "os.wait()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        found = listeners(free_port)
        process.communicate()

    assert [process.pid] == [one.pid for one in found]
    assert isinstance(found[0], Listener)


def test_a_process_is_described() -> None:
    """Command, user and start are those that psutil knows."""
    described = describe_process(os.getpid())

    assert described.command is not None
    assert psutil.Process().username() == described.user
    assert described.since is not None
    assert described.since <= time.time()


def test_a_process_that_is_gone_is_described_by_its_pid_alone() -> None:
    """Best effort: nothing is raised for what cannot be seen."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    described = describe_process(gone.pid)

    assert (described.pid, described.command, described.user, described.since) == (gone.pid, None, None, None)
