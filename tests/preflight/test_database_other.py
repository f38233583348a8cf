from __future__ import annotations

import socket
from pathlib import Path

import pytest

from masuka_magic.preflight.check import CheckResult
from masuka_magic.preflight.database import DatabaseCheck


@pytest.fixture
def check(bench, make_config):
    """Check a URL; this interpreter's packages are not the backend's."""

    def run(url: str) -> CheckResult:
        result: CheckResult = bench.run(DatabaseCheck(), make_config(url))
        return result

    return run


def test_a_server_that_listens_passes_and_no_login_is_claimed(check) -> None:
    """The port is all that was looked at, and the text says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = check(f"mysql+pymysql://root:secret@127.0.0.1:{port}/shop")

    assert (result.verdict, result.text) == (
        "pass",
        f"MySQL listens at 127.0.0.1:{port}; a login was not tried",
    )
    assert "secret" not in repr(result)


def test_a_server_that_is_stopped_fails(check, free_port) -> None:
    """Nothing listens there."""
    result = check(f"mongodb://root:secret@127.0.0.1:{free_port}/shop")

    assert (result.verdict, result.finding.code) == ("fail", "database-refused")
    assert f"MongoDB refused the connection at 127.0.0.1:{free_port}" == result.text
    assert "Connection refused" == result.finding.evidence[0].text
    assert "the URL comes from [env]" in result.finding.notes


def test_one_of_several_servers_is_enough(check, free_port) -> None:
    """A replica set names all of its members."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert check(f"mongodb://127.0.0.1:{free_port},127.0.0.1:{port}/x").verdict == "pass"


def test_an_unknown_host_fails(check) -> None:
    """RFC 6761 keeps .invalid for names that are not there."""
    result = check("mssql+pyodbc://sa:secret@server.invalid/shop")

    assert (result.verdict, result.finding.code) == ("fail", "database-dns")
    assert "server.invalid" == result.finding.culprit


def test_a_unix_socket_is_reached(check, tmp_path: Path) -> None:
    """MySQL's drivers take `unix_socket` in the query."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert check(f"mysql+pymysql://root@/shop?unix_socket={path}").verdict == "pass"


@pytest.mark.parametrize("url", ["mysql://u:p@h:port/d", "duckdb:///a.db", "bigquery://project"])
def test_what_names_no_place_is_skipped(check, url: str) -> None:
    """A file or a cloud: there is no port to look at."""
    assert check(url).verdict == "skip"
