from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

from masuka_magic.demo.postgres import EmbeddedPostgres, PostgresNotStartedError

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).parents[2]


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_role_owns_its_database_and_nothing_is_left() -> None:
    """The URL lets the role create tables, as a backend does; afterwards port and folder are gone."""
    with EmbeddedPostgres(role="a role", database="a base") as server:
        made = rows(server.url, "CREATE TABLE t (n int); INSERT INTO t VALUES (7); SELECT n FROM t")
        folder, port = server.folder, server.port
        is_super = rows(server.url, "SELECT usesuper FROM pg_user WHERE usename = current_user")

    assert [(7,)] == made
    assert [(False,)] == is_super
    assert not folder.exists()
    assert refused(port)


def test_stop_and_start_keep_data_and_port() -> None:
    """A server that is stopped and started again answers at the same URL with the same rows."""
    with EmbeddedPostgres() as server:
        url = server.url
        server.execute("CREATE TABLE t AS SELECT 7 AS n", "masuka")
        server.stop()
        assert server.pid is None
        assert refused(server.port)
        server.start()

        assert url == server.url
        assert [(7,)] == server.execute("SELECT n FROM t", "masuka")


def test_settings_and_lines_of_pg_hba_hold() -> None:
    """What a test asks for is what the server runs with; the superuser gets in whatever the lines say."""
    with EmbeddedPostgres(
        settings={"max_connections": "7"}, hba=["host all all 127.0.0.1/32 reject"]
    ) as server:
        assert [("7",)] == server.execute("SHOW max_connections")
        with pytest.raises(psycopg2.OperationalError, match="rejects"):
            psycopg2.connect(server.url)


def test_a_wrong_setting_is_an_error_with_the_servers_words() -> None:
    """A server that does not start is told in its own words, and leaves nothing."""
    server = EmbeddedPostgres(settings={"shared_buffers": "a lot"})

    with pytest.raises(PostgresNotStartedError, match="shared_buffers"), server:
        pass

    assert not server.folder.exists()


def test_a_template_serves_the_next_server(tmp_path: Path) -> None:
    """The second server copies the initialised data and has passwords of its own role."""
    template = tmp_path / "kept" / "template"
    with EmbeddedPostgres(template=template) as first:
        assert template.is_dir()
        with EmbeddedPostgres(template=template) as second:
            assert first.port != second.port
            assert [("masuka",)] == rows(second.url, "SELECT current_user")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_nothing_behind(wait_until: Callable[..., object], number) -> None:
    """When the owner is killed, forked child or not, the watcher stops the server and removes the folder."""
    code = (
        "import os, signal, time\n"
        "from masuka_magic.demo.postgres import EmbeddedPostgres\n"
        "with EmbeddedPostgres() as server:\n"
        "    child = os.fork()\n"  # It keeps the pipe to the watcher open.
        "    if child == 0:\n"
        "        os.close(1)\n"
        "        signal.pause()\n"
        "    print(server.folder, server.port, child, flush=True)\n"
        "    signal.pause()\n"
    )
    command = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as owner:
        assert owner.stdout is not None
        folder, port, child = owner.stdout.readline().split()
        owner.send_signal(number)
    try:
        wait_until(lambda: not Path(folder).exists(), 60, "the removal of the folder")
        assert refused(int(port))
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_an_interrupt_of_the_group_does_not_reach_the_server() -> None:
    """Ctrl-C and a notebook's interrupt go to the process group: server and watcher are not in it."""
    with EmbeddedPostgres() as server:
        assert server.pid is not None
        assert os.getpgid(server.pid) != os.getpgrp()
        assert server._watcher is not None
        assert os.getpgid(server._watcher.pid) != os.getpgrp()
