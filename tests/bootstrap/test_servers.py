"""Servers under the bootstrap and by hand: the same imports, the same surroundings."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from masuka_magic.process.reports import Hello, ImportFinished, ImportStarted

SERVERS = {
    "uvicorn": (1, ["-m", "uvicorn", "app.main:app", "--port", "{port}"]),
    "factory": (1, ["-m", "uvicorn", "app.main:make", "--factory", "--port", "{port}"]),
    "workers": (2, ["-m", "uvicorn", "app.main:app", "--workers", "2", "--port", "{port}"]),
    "reload": (1, ["-m", "uvicorn", "app.main:app", "--reload", "--port", "{port}"]),
    "hypercorn": (1, ["-m", "hypercorn", "app.main:app", "--bind", "127.0.0.1:{port}"]),
    "gunicorn": (
        1,
        [
            "-m",
            "gunicorn",
            "app.main:app",
            "-k",
            "uvicorn_worker.UvicornWorker",
            "--bind",
            "127.0.0.1:{port}",
        ],
    ),
}

WATCHED = ("--app", "app.main:app")


def options_for(arguments: list[str]) -> tuple[str, ...]:
    options = ("--app", arguments[2])
    return (*options, "--factory") if "--factory" in arguments else options


@pytest.mark.parametrize("server", SERVERS)
def test_application_is_imported_as_often_as_by_hand(server, launch, project, app_files, take_port):
    """Each import of the application is the server's own, and each is reported by the process that does it."""
    count, arguments = SERVERS[server]
    imports, answers = {}, {}
    for name in ("by-hand", "watched"):
        port = take_port()
        words = [word.format(port=port) for word in arguments]
        cwd = project(name, app_files)
        child = launch(cwd, *words, options=options_for(words) if name == "watched" else None)
        answer = json.dumps(child.ask(port))
        child.until(lambda child=child: child.imports() >= count, f"{count} imports")
        if name == "watched":
            child.until(lambda child=child: len(child.all(ImportFinished)) >= count, f"{count} reports")
        child.stop()
        imports[name] = child.imports()
        answers[name] = answer.replace(str(port), "PORT").replace("/by-hand", "/watched")
    assert {"by-hand": count, "watched": count} == imports
    assert answers["by-hand"] == answers["watched"]
    pids = (cwd / "imports").read_text().split()
    assert sorted(pids) == sorted(str(report.pid) for report in child.all(ImportFinished))
    assert sorted(pids) == sorted(str(report.pid) for report in child.all(ImportStarted))
    assert child.process.pid in {report.pid for report in child.all(Hello) if report.role == "main"}
    assert {("app.main", True)} == {(report.module, report.attribute) for report in child.all(ImportFinished)}
    assert 0 == child.reader.rejected


def test_each_reload_is_reported(launch, project, app_files, free_port):
    """A reloader's child imports the application anew, in a new process that is watched too."""
    cwd = project("watched", app_files)
    arguments = ["-m", "uvicorn", "app.main:app", "--reload", "--port", str(free_port)]
    child = launch(cwd, *arguments, options=WATCHED)
    child.ask(free_port)
    path = cwd / "app" / "main.py"
    times = itertools.count(int(path.stat().st_mtime) + 1)

    def reloading() -> bool:
        # The reloader compares with the time that it saw first, which may be after the first change.
        os.utime(path, (when := next(times), when))
        return "Reloading" in child.stderr

    child.until(reloading, "reload")
    child.until(lambda: len(child.all(ImportFinished)) >= 2, "second import")
    pids = {report.pid for report in child.all(ImportFinished)}
    assert len(pids) == len(child.all(ImportFinished))
    assert child.process.pid not in pids


def test_pool_of_the_application_does_not_respawn(launch, project, app_files, take_port):
    """A spawn Pool in the application starts its worker and no more; the worker's import is reported as a child's."""
    imports = {}
    for name in ("by-hand", "watched"):
        port = take_port()
        arguments = ["-m", "uvicorn", "app.main:app", "--port", str(port)]
        child = launch(
            project(name, app_files),
            *arguments,
            options=WATCHED if name == "watched" else None,
        )
        assert {"pool": 42} == child.ask(port, "/pool")
        imports[name] = child.imports()
        child.stop()
    assert {"by-hand": 2, "watched": 2} == imports
    assert ["main", "child"] == [report.role for report in child.all(Hello)]
    assert 2 == len({report.pid for report in child.all(ImportFinished)})


def test_logger_made_at_import_stays_live(launch, project, app_files, take_port):
    """A logging configuration that disables loggers comes before the import, as by hand."""
    config = {"version": 1, "disable_existing_loggers": True}
    disabled = {}
    for name in ("by-hand", "watched"):
        cwd, port = project(name, {**app_files, "log.json": json.dumps(config)}), take_port()
        arguments = ["-m", "uvicorn", "app.main:app", "--log-config", "log.json", "--port", str(port)]
        child = launch(cwd, *arguments, options=WATCHED if name == "watched" else None)
        disabled[name] = child.ask(port)["logger_disabled"]
        child.stop()
    assert {"by-hand": False, "watched": False} == disabled


def test_variable_of_an_env_file_is_there_at_import(launch, project, app_files, free_port):
    """A server, here uvicorn, reads its --env-file before it imports the application."""
    pytest.importorskip("dotenv", reason="uvicorn's --env-file needs python-dotenv")
    cwd = project("watched", {**app_files, "settings": "SETTING=from-file\n"})
    arguments = ["-m", "uvicorn", "app.main:app", "--env-file", "settings", "--port", str(free_port)]
    child = launch(cwd, *arguments, options=WATCHED)
    assert "from-file" == child.ask(free_port)["setting"]


def test_variable_of_the_server_is_there_at_import(launch, project, app_files, free_port):
    """A server, here gunicorn, sets its --env before its worker imports the application."""
    cwd = project("watched", app_files)
    bind = f"127.0.0.1:{free_port}"
    arguments = ["-m", "gunicorn", "app.main:app", "-k", "uvicorn_worker.UvicornWorker", "--bind", bind]
    child = launch(cwd, *arguments, "--env", "SETTING=from-server", options=WATCHED)
    assert "from-server" == child.ask(free_port)["setting"]
    (finished,) = child.all(ImportFinished)
    assert child.process.pid == finished.ppid


@pytest.fixture
def unread_wake(run_folder: Callable[[], Path]) -> Iterator[Path]:
    """Return a run folder whose FIFO is full, and read by nobody."""
    run = run_folder()
    descriptor = os.open(run / "wake", os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(descriptor, b"." * 4096):
            pass
    yield run
    os.close(descriptor)


@pytest.fixture
def comes_up(launch, project, app_files, free_port) -> Callable[..., object]:
    """Give a function that starts a watched server which says nothing unless it fails, and sees it answer."""

    def start(files: dict[str, str] | None = None, **how: object):
        arguments = ["-m", "uvicorn", "app.main:app", "--port", str(free_port), "--log-level", "critical"]
        child = launch(project("watched", app_files | (files or {})), *arguments, options=WATCHED, **how)
        assert child.ask(free_port)["loop"] in {"running", "none"}
        assert "" == child.stderr
        return child

    return start


def test_full_wake_holds_nothing_up(comes_up, unread_wake):
    """A FIFO that nobody reads costs no report, and the server no time."""
    assert ["Hello", "ImportStarted", "ImportFinished"] == comes_up(run=unread_wake).kinds


def test_deleted_folder_does_no_harm(comes_up):
    """A run folder that goes in the middle of the import costs the reports and nothing else."""
    delete = "import os, shutil\nshutil.rmtree(os.environ['MASUKA_RUN'])\n"
    assert not comes_up({"app/__init__.py": delete}).run.exists()


def test_full_disk_does_no_harm(comes_up, run_folder):
    """A full disk costs the reports and nothing else."""
    run = run_folder()
    (run / "reports.jsonl").symlink_to("/dev/full")
    comes_up(run=run)


def test_limit_on_files_does_no_harm(comes_up, app_files):
    """A process that may write no byte into any file runs as well."""
    main = app_files["app/main.py"].replace('open("imports", "a")', 'open(os.devnull, "a")')
    child = comes_up({"app/main.py": main}, prefix=("sh", "-c", 'ulimit -f 0; exec "$@"', "sh"))
    assert [] == child.kinds


@pytest.mark.parametrize("run", ["", "relative", "/proc", "/proc/none"])
def test_unusable_folder_does_no_harm(run, comes_up):
    """Without a folder, or with one into which not even root may write, the server runs unwatched."""
    comes_up(env={"MASUKA_RUN": run})
