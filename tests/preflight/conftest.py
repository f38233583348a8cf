"""A context to run a check in, and one PostgreSQL server per worker process."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from masuka_magic.config.model import Database, StartConfig, Target
from masuka_magic.demo.postgres import EmbeddedPostgres
from masuka_magic.preflight.check import Check, CheckContext, CheckResult


@dataclass
class Bench:
    """Runs one check by itself and keeps what it said on the way."""

    said: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self, check: Check, config: StartConfig) -> CheckResult:
        return check.run(CheckContext(config, self.said.append, self.cancelled))


@pytest.fixture
def port_open(wait_until: Callable[..., object]) -> Callable[[int], object]:
    """Give a wait until somebody listens on a port of 127.0.0.1."""

    def listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return lambda port: wait_until(lambda: listens(port), 30, f"a listener on {port}")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., StartConfig]:
    """Make a configuration; `url` is that of its database."""

    def make(url: str | None = None, *, hidden: str | None = None, **settings: Any) -> StartConfig:
        database = None if url is None else Database(url, "[env]", hidden)
        usual = {"python": "/usr/bin/python3", "target": Target("app", "app.main:app")}
        return StartConfig(cwd=str(tmp_path), database=database, **{**usual, **settings})

    return make


@pytest.fixture
def backend_python(tmp_path: Path) -> Callable[..., str]:
    """Make a virtual environment of files alone; `backend_python("sqlalchemy-2.1.0", modules=("psycopg2",))`.

    It returns the path of its interpreter. The modules are empty folders: nothing is imported from them.
    """

    def make(*distributions: str, modules: tuple[str, ...] = (), entry_points: str = "") -> str:
        root, short = tmp_path / "backend-venv", f"{sys.version_info.major}.{sys.version_info.minor}"
        site = root / "lib" / f"python{short}" / "site-packages"
        for name in (*(f"{distribution}.dist-info" for distribution in distributions), *modules):
            (site / name).mkdir(parents=True)
        if entry_points:
            (site / f"{distributions[-1]}.dist-info" / "entry_points.txt").write_text(entry_points)
        (root / "bin").mkdir()
        (root / "bin" / "python").symlink_to(sys.executable)
        home = Path(sys.executable).resolve().parent
        (root / "pyvenv.cfg").write_text(f"home = {home}\nversion = {short}.0\n")
        return str(root / "bin" / "python")

    return make


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where initialised data are kept between the servers of one worker."""
    return tmp_path_factory.mktemp("postgres") / "template"


@pytest.fixture(scope="session")
def postgres(template: Path) -> Iterator[EmbeddedPostgres]:
    """One server that the tests of a worker share: they connect to it and do not change it."""
    with EmbeddedPostgres(template=template) as server:
        yield server
