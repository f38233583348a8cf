"""Which layer wins: line, cell and Python, masuka.toml; and what nothing at all means."""

from __future__ import annotations

import pytest

from masuka_magic.config.model import Target

FILE = "/nb/masuka.toml"


def test_the_line_overrides_the_cell_and_the_cell_the_file(read):
    """Each key is taken from the highest layer that has it."""
    file = 'app = "f:f"\nport = 1\nname = "file"\nstall = 11'
    config = read("--port 3", 'port = 2\nname = "cell"', files={FILE: file})
    assert ("f:f", 3, "cell", 11.0) == (config.target.value, config.port, config.name, config.stall_s)
    assert config.config_file == FILE


def test_python_overrides_the_file(read):
    """The arguments of start() stand where the cell stands."""
    assert 2 == read(start={"port": 2}, files={FILE: 'app = "a:b"\nport = 1'}).port


def test_no_file_no_config_file(read):
    """config_file names a file only where one was read."""
    assert read("a:b").config_file is None


def test_tables_merge_key_by_key(read):
    """A table in a higher layer leaves the other keys of a lower one."""
    file = '[env]\nA = "file"\nB = "file"\n[health]\npath = "/file"\nstatus = 204'
    config = read(
        "--env C=line --health /line", '[env]\nB = "cell"\n[health]\ntimeout = 1', files={FILE: file}
    )
    assert {"A": "file", "B": "cell", "C": "line"} == config.env
    assert ("/line", 204, 1.0) == (config.health.path, config.health.status, config.health.timeout_s)


def test_lists_are_replaced(read):
    """Args and env_file of a higher layer replace those of a lower one."""
    config = read("--args y", 'args = ["x"]\nenv_file = "e"', files={FILE: 'env_file = "f"', "/nb/e": ""})
    assert (("y",), ("/nb/e",)) == (config.args, config.env_file)


@pytest.mark.parametrize(
    ("line", "cell", "expected"),
    [
        ("c.py", 'app = "a:b"', Target("script", "c.py")),
        ("a:b", 'script = "c.py"', Target("app", "a:b")),
        ("--module m", 'command = "x y"\nshell = true', Target("module", "m")),
        ("", 'command = "x y"', Target("command", "x y", ("x", "y"))),
    ],
)
def test_a_target_replaces_the_target_of_a_lower_layer(read, line, cell, expected):
    """A target of another kind in a lower layer is no conflict."""
    assert expected == read(line, cell, files={FILE: 'module = "file"'}).target


def test_a_target_of_another_kind_leaves_behind_what_belonged_to_the_first(read):
    """server, factory and args of an application mean nothing to a script."""
    config = read("c.py", 'app = "a:b"\nfactory = true\nserver = "gunicorn"\nargs = ["-w", "2"]\nport = 9000')
    assert ("uvicorn", False, (), 9000) == (config.server, config.factory, config.args, config.port)


def test_a_target_of_the_same_kind_keeps_what_belongs_to_it(read):
    """Another application is started the way the cell says."""
    config = read("c:d", 'app = "a:b"\nfactory = true\nargs = ["-w", "2"]')
    assert ("c:d", True, ("-w", "2")) == (config.target.value, config.factory, config.args)


def test_a_database_on_the_line_replaces_false_in_the_cell(read):
    """Database is one key, whatever its form."""
    config = read("--database postgresql://h/d", "database = false")
    assert config.database is not None
    assert read("--no-database", '[database]\nurl = "postgresql://h/d"').database is None


MASUKA = "/content/masuka-v2/backend"


@pytest.mark.parametrize("line", ["", "--port 8001", "--no-wait --quiet # a comment"])
@pytest.mark.parametrize("cell", [None, "", "# nothing but a comment"])
def test_nothing_at_all_is_masuka_v2(read, line, cell):
    """Without target, keys and file it is MASUKA V2's backend, in its folder, with its database."""
    config = read(line, cell)
    assert (Target("app", "app.main:app"), MASUKA) == (config.target, config.cwd)
    assert config.database is not None
    assert "postgresql://masuka:password123@localhost:5432/masuka" == config.database.url
    assert "MASUKA V2's defaults" == config.database.source
    assert {} == config.env
    assert "password123" in config.secrets


@pytest.mark.parametrize(
    ("dotenv", "url", "source"),
    [
        ("DATABASE_URL=postgresql://x/y\nDB_PASSWORD=no", "postgresql://x/y", ".env"),
        ("DB_PASSWORD='p@ss'", "postgresql://masuka:p%40ss@localhost:5432/masuka", "MASUKA V2's defaults"),
        (
            "POSTGRES_PASSWORD=pg-pass",
            "postgresql://masuka:pg-pass@localhost:5432/masuka",
            "MASUKA V2's defaults",
        ),
        ("DB_PASSWORD=", "postgresql://masuka:password123@localhost:5432/masuka", "MASUKA V2's defaults"),
    ],
)
def test_masuka_v2s_password_is_that_of_its_dotenv(read, dotenv, url, source):
    """A DATABASE_URL of its .env wins entirely, else a password there goes into the known URL."""
    database = read(files={f"{MASUKA}/.env": dotenv}).database
    assert database is not None
    assert (url, source) == (database.url, database.source)


@pytest.mark.parametrize(
    ("line", "cell", "files"),
    [
        ("a:b", None, {}),
        ("--cwd /other", None, {}),
        ("", "port = 9000", {}),
        ("", None, {FILE: ""}),
    ],
)
def test_a_backend_of_ones_own_has_nothing_of_masuka_v2(read, line, cell, files):
    """A target or folder on the line, a key in the cell, a file: no folder and no database is supposed."""
    config = read(line, cell, files=files)
    assert MASUKA != config.cwd
    assert config.database is None


def test_options_of_python_alone_still_mean_masuka_v2(read):
    """start(wait=False) says nothing about what is started."""
    assert MASUKA == read(start={"wait": False}).cwd
