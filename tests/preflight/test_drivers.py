from __future__ import annotations

from pathlib import Path

import pytest

from masuka_magic.config.model import Target
from masuka_magic.diagnosis.findings import Finding
from masuka_magic.preflight.backend_url import judge
from masuka_magic.preflight.drivers import Packages, driver_of, judge_url, judge_use, without_secret
from masuka_magic.preflight.url_use import UrlUse, engine_kind, read_url_use


def packages(*modules: str, version: tuple[int, ...] | None = (2, 0, 52), plugins: str = "") -> Packages:
    return Packages(
        "/venv/bin/python", version, set(modules).__contains__, lambda: frozenset(plugins.split())
    )


def command_of(finding: Finding | None) -> str | None:
    assert finding is not None
    return finding.remedies[0].command


@pytest.mark.parametrize(
    ("url", "version", "modules", "code", "command"),
    [
        ("postgres://u:p@h/d", (2, 0), "psycopg2", "bad-url", "postgresql://u:…@h/d"),
        ("postgres://u:p@h/d", (1, 4), "psycopg2", "bad-url", "postgresql://u:…@h/d"),
        ("postgres://u:p@h/d", (1, 3), "psycopg2", None, None),
        ("postgres://u:p@h/d", (2, 1), "psycopg2", "bad-url", "postgresql+psycopg2://u:…@h/d"),
        ("postgres+asyncpg://u:p@h/d", (2, 0), "asyncpg", "bad-url", "postgresql+asyncpg://u:…@h/d"),
        ("Postgresql://u@h/d", (2, 0), "psycopg2", "bad-url", "postgresql://u@h/d"),
        ("postgresql://u@h/d", (2, 0), "psycopg2", None, None),
        ("postgresql://u@h/d", (2, 1), "psycopg2", "bad-url", "postgresql+psycopg2://u@h/d"),
        ("postgresql://u@h/d", (2, 1), "psycopg", None, None),
        ("postgresql://u@h/d", (2, 0), "psycopg", "bad-url", "postgresql+psycopg://u@h/d"),
        (
            "postgresql://u@h/d",
            (2, 0),
            "",
            "missing-module",
            "/venv/bin/python -m pip install psycopg2-binary",
        ),
        (
            "postgresql+asyncpg://u@h/d",
            (2, 0),
            "",
            "missing-module",
            "/venv/bin/python -m pip install asyncpg",
        ),
        ("postgresql+asyncpg://u@h/d", (2, 0), "asyncpg", None, None),
        (
            "postgresql+asyncpg://u:p@h/d?sslmode=require&channel_binding=require&x=1",
            (2, 0),
            "asyncpg",
            "bad-url",
            "postgresql+asyncpg://u:…@h/d?ssl=require&x=1",
        ),
        ("postgresql+asyncpg://u@h/d?ssl=true", (2, 0), "asyncpg", "bad-url", None),
        ("postgresql+asyncpg://u@h/d?ssl=require", (2, 0), "asyncpg", None, None),
        ("postgresql+psycopg2://u@h/d?sslmode=require", (2, 0), "psycopg2", None, None),
        (
            "postgresql+pg8000://u@h/d?sslmode=require",
            (2, 0),
            "pg8000",
            "bad-url",
            "postgresql+pg8000://u@h/d",
        ),
        ("postgresql+foo://u@h/d", (2, 0), "psycopg2", "bad-url", "postgresql+psycopg2://u@h/d"),
        ("mysql://u@h/d", (2, 0), "pymysql", "bad-url", "mysql+pymysql://u@h/d"),
        ("mysql+pymysql://u@h/d", (2, 0), "pymysql", None, None),
        ("mysql+rare://u@h/d", (2, 0), "", None, None),
        ("sqlite:///a.db", (2, 0), "", None, None),
        ("sqlite://", (2, 0), "", None, None),
        ("sqlite://a.db", (2, 0), "", "bad-url", "sqlite:///a.db"),
        (
            "sqlite+aiosqlite:///a.db",
            (2, 0),
            "",
            "missing-module",
            "/venv/bin/python -m pip install aiosqlite",
        ),
        ("mongodb://h/d", (2, 0), "", None, None),
        ("postgres://u@h/d", None, "psycopg2", None, None),
        ("what is this", (2, 0), "psycopg2", None, None),
    ],
)
def test_a_url_is_judged_as_sqlalchemy_would(url, version, modules, code, command) -> None:
    """Where it would raise there is a finding, with the URL that would work; else there is none."""
    finding = judge_url(url, packages(*modules.split(), version=version))

    assert code == (finding.code if finding else None)
    if command is not None:
        assert command == command_of(finding)


def test_a_dialect_of_a_plugin_is_left_to_it() -> None:
    """Other distributions bring dialects and drivers of their own."""
    assert judge_url("postgresql+own://h/d", packages("psycopg2", plugins="postgresql.own")) is None
    assert judge_url("postgres://h/d", packages("psycopg2", plugins="postgres")) is None


@pytest.mark.parametrize(
    ("url", "asynchronous", "command"),
    [
        ("postgresql://u:p@h/d", True, "postgresql+asyncpg://u:…@h/d"),
        ("postgresql://u:p@h/d?sslmode=require", True, "postgresql+asyncpg://u:…@h/d?ssl=require"),
        ("postgresql+asyncpg://u:p@h/d", False, "postgresql+psycopg2://u:…@h/d"),
        ("sqlite+aiosqlite:///a.db", False, "sqlite:///a.db"),
        ("postgresql+psycopg://u:p@h/d", True, None),
        ("postgresql+psycopg://u:p@h/d", False, None),
        ("postgresql+asyncpg://u:p@h/d", True, None),
        ("postgresql://u:p@h/d", False, None),
    ],
)
def test_a_driver_of_the_wrong_kind_is_told(url, asynchronous, command) -> None:
    """create_async_engine refuses psycopg2, and create_engine breaks with asyncpg; psycopg is both."""
    finding = judge_use(url, packages("psycopg2", "asyncpg", "aiosqlite"), asynchronous=asynchronous)

    assert command == (command_of(finding) if finding else None)


def test_the_default_driver_depends_on_the_version() -> None:
    """SQLAlchemy 2.1 takes psycopg 3 where 2.0 took psycopg2."""
    assert driver_of("postgresql://h/d", packages(version=(2, 0, 9))) == ("postgresql", "psycopg2")
    assert driver_of("postgresql://h/d", packages(version=(2, 1, 0))) == ("postgresql", "psycopg")


def test_no_password_is_shown() -> None:
    """Neither the one before the host nor those of the query."""
    shown = without_secret("postgresql://u:s3cret@x@h/d?password=other&a=1")

    assert shown == "postgresql://u:…@h/d?password=…&a=1"


PLAIN = (
    'from sqlalchemy import create_engine\nurl = os.environ["DATABASE_URL"]\nengine = create_engine(url)\n'
)


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        (PLAIN, True),
        (PLAIN.replace("sqlalchemy", "sqlmodel"), True),
        (PLAIN + 'DEFAULT = "postgresql://masuka:x@localhost/masuka"\n', True),
        (PLAIN + 'args = {"check_same_thread": False} if "sqlite" in url else {}\n', True),
        (PLAIN + 'url = url.replace("postgres://", "postgresql://", 1)\n', False),
        (PLAIN + "url = 'postgresql+asyncpg://' + url.split('://')[1]\n", False),
        (PLAIN + 'url = f"postgresql+psycopg2://{user}@{host}/x"\n', False),
        (PLAIN + 'engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))\n', False),
        (PLAIN + 'url = settings.url.replace("psycopg2", "asyncpg")\n', False),
        (PLAIN + "import asyncpg\n", False),
        (PLAIN + "    from databases import Database\n", False),
        (PLAIN.replace("DATABASE_URL", "OTHER"), False),
        ("import os\nos.environ['DATABASE_URL']\n", False),
    ],
)
def test_sources_show_whether_sqlalchemy_gets_the_url_as_it_is(tmp_path: Path, source, plain) -> None:
    """What mends the URL, or opens it by other means, speaks for the backend."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "db.py").write_text(source)

    assert plain == read_url_use((str(tmp_path),)).plain


def test_what_is_not_the_backends_own_is_not_read(tmp_path: Path) -> None:
    """Virtual environments, hidden folders and tests say nothing about the application."""
    (tmp_path / "main.py").write_text(PLAIN)
    for folder in (".hidden", "tests", "node_modules", "mine"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "other.py").write_text("import asyncpg\n")
    (tmp_path / "mine" / "pyvenv.cfg").touch()

    assert read_url_use((str(tmp_path),)) == UrlUse(files=1, alchemy=True, asked=True)


def test_what_cannot_be_read_in_time_is_no_proof(tmp_path: Path) -> None:
    """A limit that is over makes the reading incomplete."""
    (tmp_path / "main.py").write_text(PLAIN)

    assert read_url_use((str(tmp_path),), limit_s=-1).complete is False
    assert engine_kind((str(tmp_path),), -1) is None


def test_the_backends_own_environment_is_judged(make_config, backend_python, tmp_path: Path) -> None:
    """What lies in its site-packages, on its PYTHONPATH, and in entry points of other distributions counts."""
    url = "postgresql+own://u@h/d"
    plugin = "[sqlalchemy.dialects]\npostgresql.own = own:Dialect\n"
    python = backend_python("sqlalchemy-2.0.1", "own-1.0", modules=("sqlalchemy",), entry_points=plugin)
    config = make_config(url, python=python)
    (tmp_path / "extra" / "asyncpg").mkdir(parents=True)
    asynchronous = "postgresql+asyncpg://u@h/d"

    assert judge(config, url, {}).finding is None
    assert judge(config, url.replace("own", "other"), {}).finding is not None
    assert judge(config, asynchronous, {}).finding is not None
    assert judge(config, asynchronous, {"PYTHONPATH": str(tmp_path / "extra")}).finding is None


def test_a_command_is_not_judged(make_config, backend_python) -> None:
    """It brings its own interpreter, if it is Python at all."""
    python = backend_python("sqlalchemy-2.0.1", modules=("sqlalchemy",))
    target = Target("command", "poetry run uvicorn app:app", ("poetry", "run", "uvicorn", "app:app"))
    config = make_config("postgres://u@h/d", python=python, target=target)

    assert judge(config, "postgres://u@h/d", {}).finding is None


def test_an_asynchronous_engine_with_a_synchronous_driver_is_told(
    make_config, backend_python, tmp_path: Path
) -> None:
    """The sources make asynchronous engines alone, and give them the URL as it is."""
    python = backend_python("sqlalchemy-2.0.1", modules=("sqlalchemy", "psycopg2", "asyncpg"))
    config = make_config("postgresql://u@h/d", python=python)
    (tmp_path / "main.py").write_text(PLAIN.replace("create_engine", "create_async_engine"))

    finding = judge(config, "postgresql://u@h/d", {}).finding

    assert finding is not None
    assert "postgresql+asyncpg://u@h/d" == command_of(finding)
    assert judge(config, "postgresql+asyncpg://u@h/d", {}).finding is None


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("engine = create_engine(url)", False),
        ("engine = create_async_engine(url)", True),
        ("engine = async_engine_from_config(config)", True),
        ("create_engine(a); create_async_engine(b)", None),
        ("from sqlalchemy import create_engine", None),
    ],
)
def test_the_kind_of_engine_is_read(tmp_path: Path, source, kind) -> None:
    """Only where one kind alone is made is it known which one gets the URL."""
    (tmp_path / "main.py").write_text(source)

    assert kind == engine_kind((str(tmp_path),), 10)
