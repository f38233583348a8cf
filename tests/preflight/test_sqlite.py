from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from masuka_magic.preflight.check import CheckResult
from masuka_magic.preflight.database import DatabaseCheck
from masuka_magic.preflight.sqlite import SqliteFile, sqlite_file


@pytest.fixture
def check(bench, make_config):
    """Check a URL in a folder of its own."""

    def run(url: str) -> CheckResult:
        result: CheckResult = bench.run(DatabaseCheck(), make_config(url))
        return result

    return run


@pytest.fixture
def may_write(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Deny writing to these paths: root, whom the tests may run as, is denied nothing."""
    denied: set[Path] = set()
    allowed = os.access

    def access(path: Path, mode: int) -> bool:
        return not (mode == os.W_OK and Path(path) in denied) and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)
    return denied


def make_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE seen (n int)")
        connection.commit()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite://", SqliteFile("")),
        ("sqlite:///:memory:", SqliteFile("")),
        ("sqlite+aiosqlite:///app.db", SqliteFile("app.db")),
        ("sqlite:///./data/app.db?check_same_thread=false", SqliteFile("./data/app.db")),
        ("sqlite:////var/lib/app.db", SqliteFile("/var/lib/app.db")),
        ("sqlite:///file:app.db?mode=ro&uri=true", SqliteFile("app.db", read_only=True)),
        ("sqlite:///file::memory:?cache=shared&uri=true", SqliteFile("")),
        ("sqlite:///file:x?mode=memory&uri=true", SqliteFile("")),
        ("sqlite://app.db", SqliteFile("app.db")),
        ("sqlite+pysqlcipher://:secret@/app.db", SqliteFile("app.db", encrypted=True)),
    ],
)
def test_the_file_is_the_one_that_will_be_opened(url: str, expected: SqliteFile) -> None:
    """Three slashes before a relative path, four before an absolute one; URIs of SQLite's own are read too."""
    assert expected == sqlite_file(url)


def test_a_database_passes(check, tmp_path: Path) -> None:
    """A relative path is one from the backend's folder."""
    make_database(tmp_path / "app.db")

    result = check("sqlite:///app.db")

    assert (result.verdict, result.text) == ("pass", f"SQLite, {tmp_path}/app.db")
    assert ["url", "folder", "file"] == [layer.name for layer in result.layers]


def test_a_file_that_is_not_there_yet_passes_and_is_not_made(check, tmp_path: Path) -> None:
    """SQLite will create it; the check does not."""
    result = check("sqlite:///app.db")

    assert (result.verdict, result.text) == ("pass", f"SQLite, {tmp_path}/app.db will be created")
    assert not (tmp_path / "app.db").exists()


def test_memory_passes(check) -> None:
    """There is no file."""
    assert check("sqlite:///:memory:").verdict == "pass"


def test_a_missing_folder_fails_with_the_command_that_makes_it(check, tmp_path: Path) -> None:
    """SQLite makes files, not folders."""
    result = check("sqlite:///data/app.db")

    assert (result.verdict, result.finding.code) == ("fail", "missing-path")
    assert f"mkdir -p {tmp_path}/data" == result.finding.remedies[0].command
    assert ["pass", "fail", "skip"] == [layer.verdict for layer in result.layers]


def test_a_missing_folder_is_a_warning_where_the_backend_makes_folders(check, tmp_path: Path) -> None:
    """`os.makedirs("data", exist_ok=True)` at the import is in time."""
    (tmp_path / "main.py").write_text('import os\nos.makedirs("data", exist_ok=True)\n')

    assert check("sqlite:///data/app.db").verdict == "warn"


def test_a_tilde_is_not_expanded(check) -> None:
    """SQLite takes ~ for the name of a folder."""
    result = check("sqlite:///~/app.db")

    assert "SQLite does not know ~, the home folder: write it out" in result.finding.notes


def test_a_folder_that_may_not_be_written_fails(check, tmp_path: Path, may_write) -> None:
    """The file could not be created."""
    may_write.add(tmp_path)

    result = check("sqlite:///app.db")

    assert (result.verdict, result.finding.code) == ("fail", "permission")


@pytest.mark.parametrize("which", ["app.db", "."])
def test_a_database_that_may_only_be_read_is_a_warning(check, tmp_path: Path, may_write, which: str) -> None:
    """Its tables are there; a backend that writes will fail. A folder is written for the journal."""
    make_database(tmp_path / "app.db")
    may_write.add(tmp_path / which)

    result = check("sqlite:///app.db")

    assert (result.verdict, result.finding.code) == ("warn", "permission")
    assert check("sqlite:///file:app.db?mode=ro&uri=true").verdict == "pass"


def test_an_empty_file_that_may_only_be_read_fails(check, tmp_path: Path, may_write) -> None:
    """No table is there, and none can be created."""
    (tmp_path / "app.db").touch()
    may_write.add(tmp_path / "app.db")

    assert check("sqlite:///app.db").verdict == "fail"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 not a database", "first bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
    ],
)
def test_a_file_that_is_no_database_fails(check, tmp_path: Path, content: bytes, words: str) -> None:
    """SQLite says "file is not a database" only when the first statement runs."""
    (tmp_path / "app.db").write_bytes(content)

    result = check("sqlite:///app.db")

    assert (result.verdict, result.finding.code) == ("fail", "sqlite-not-a-database")
    assert words in result.text


def test_what_is_no_regular_file_fails_without_being_opened(check, tmp_path: Path) -> None:
    """A folder, or a named pipe, which would wait for a writer."""
    (tmp_path / "folder.db").mkdir()
    os.mkfifo(tmp_path / "pipe.db")

    assert check("sqlite:///folder.db").finding.code == "sqlite-not-a-database"
    assert check("sqlite:///pipe.db").finding.code == "sqlite-not-a-database"


def test_a_driver_that_is_not_installed_fails(bench, backend_python, make_config) -> None:
    """`sqlite+aiosqlite` needs aiosqlite in the backend's own interpreter."""
    python = backend_python("sqlalchemy-2.0.1", modules=("sqlalchemy",))

    result = bench.run(DatabaseCheck(), make_config("sqlite+aiosqlite:///app.db", python=python))

    assert (result.verdict, result.finding.code) == ("fail", "missing-module")
    assert "aiosqlite" == result.finding.culprit
