"""Real children: a fixture that starts them as a notebook does, and leaves none behind."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import masuka_magic
from masuka_magic.backend import Backend
from masuka_magic.session import Session


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Give a session of its own to the test, and stop what it started."""
    from masuka_magic import session as module

    session = Session()
    session.namespace = {}
    monkeypatch.setattr(module, "_session", session)
    yield session
    for backend in session.backends.values():
        backend.kill_now()
        backend.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give the folder that the backends of the test run in."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def write(project: Path) -> Callable[[str, str], Path]:
    """Write a file of the project from indented text."""

    def write(name: str, text: str) -> Path:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def start(
    session: Session, project: Path, write: Callable[[str, str], Path], free_port: int
) -> Callable[..., Backend]:
    """Start `main:app` (or another target) with this code in main.py, on a free port, without a database."""

    def start(code: str | None = None, target: str | None = "main:app", /, **settings: Any) -> Backend:
        if code is not None:
            write("main.py", code)
        wanted = {"cwd": str(project), "port": free_port, "database": False, "quiet": True, "max_wait": 60}
        return masuka_magic.start(target, **{**wanted, **settings})

    assert session.backends == {}
    return start
