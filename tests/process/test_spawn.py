from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from masuka_magic.config.model import ConfigError, StartConfig, Target
from masuka_magic.process import spawn as spawning
from masuka_magic.process.folder import RunFolder, new_run_folder
from masuka_magic.process.identity import carries_run, look
from masuka_magic.process.spawn import SpawnError, child_environment, gunicorn_worker, launch, spawn

OWN_FILES = Path("/proc/self/fd")
CONFIG = StartConfig(Target("command", "x", ("x",)), cwd="/", python=sys.executable)
INLINE = "module://matplotlib_inline.backend_inline"


@pytest.fixture
def run() -> RunFolder:
    return new_run_folder("/srv", CONFIG.target, "backend")


# -- the environment -----------------------------------------------------------------------------------


def test_the_kernels_environment_is_added_to(run: RunFolder) -> None:
    """Everything of the kernel stays, the user's values win, ours come where nobody has spoken."""
    config = replace(CONFIG, env={"B": "user", "C": "user"})
    expected = {
        "A": "kernel",
        "B": "user",
        "C": "user",
        "PYTHONPATH": "/p",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "MASUKA_RUN": run.run,
    }
    assert expected == child_environment(config, {"A": "kernel", "B": "kernel", "PYTHONPATH": "/p"}, run)


@pytest.mark.parametrize("value", ["0", ""])
def test_what_the_user_says_of_pythons_switches_counts(run: RunFolder, value: str) -> None:
    """Set in the kernel or in [env], even to nothing, they are left alone."""
    environ = {"PYTHONUNBUFFERED": value}
    child = child_environment(replace(CONFIG, env={"PYTHONFAULTHANDLER": value}), environ, run)
    assert (value, value) == (child["PYTHONUNBUFFERED"], child["PYTHONFAULTHANDLER"])


def test_the_run_is_ours_to_name(run: RunFolder) -> None:
    """A kernel that is itself a backend's child gives its own run value to nobody."""
    child = child_environment(replace(CONFIG, env={"MASUKA_RUN": "/u"}), {"MASUKA_RUN": "/k"}, run)
    assert run.run == child["MASUKA_RUN"]


@pytest.mark.parametrize(
    ("kernel", "user", "expected"),
    [
        (INLINE, None, None),
        ("module://ipykernel.pylab.backend_inline", None, None),
        ("agg", None, "agg"),
        ("module://my.backend", None, "module://my.backend"),
        (INLINE, "svg", "svg"),
        ("agg", INLINE, INLINE),
    ],
)
def test_the_notebooks_plotting_stays_in_the_notebook(
    run: RunFolder, kernel: str, user: str | None, expected: str | None
) -> None:
    """Only the inline backend that ipykernel has set is left out, never what the user asks for."""
    config = replace(CONFIG, env={} if user is None else {"MPLBACKEND": user})
    assert expected == child_environment(config, {"MPLBACKEND": kernel}, run).get("MPLBACKEND")


# -- the process ---------------------------------------------------------------------------------------


def python(run: RunFolder, code: str) -> subprocess.Popen[bytes]:
    return spawn([sys.executable, "-c", code], {**os.environ, "MASUKA_RUN": run.run}, "/", run)


def test_a_child_has_its_own_session_files_and_nothing_to_read(run: RunFolder) -> None:
    """Its output is appended to files that are ours alone, its input is empty, and it leads its session."""
    run.stdout.write_text("before\n")
    process = python(
        run, "import sys, os; print(repr(sys.stdin.read()), os.getsid(0) == os.getpid()); os.write(2, b'e')"
    )
    assert 0 == process.wait(20)
    assert "before\n'' True\n" == run.stdout.read_text("utf-8")
    assert b"e" == run.stderr.read_bytes()
    assert [0o600, 0o600] == [stat.S_IMODE(path.stat().st_mode) for path in (run.stdout, run.stderr)]


def test_writers_append_and_do_not_overwrite(run: RunFolder) -> None:
    """Two writers of one file lose nothing: the descriptor appends."""
    process = python(run, "import os\nos.write(1, b'a')\nos.system('printf b')\nos.write(1, b'c')")
    assert 0 == process.wait(20)
    assert b"abc" == run.stdout.read_bytes()


def test_only_the_standard_descriptors_reach_the_child(run: RunFolder) -> None:
    """A descriptor of the kernel, even one marked as inheritable, is closed in the child."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        process = python(run, "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))")
        assert 0 == process.wait(20)
    finally:
        os.close(reader)
        os.close(writer)
    assert "[0, 1, 2, 3]\n" == run.stdout.read_text("utf-8")


def test_an_interrupt_of_our_group_does_not_reach_the_child(run: RunFolder) -> None:
    """The child is in a process group of its own."""
    process = python(run, "import signal; signal.pause()")
    try:
        assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(20)


def put(path: Path, text: str, mode: int) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


Case = Callable[[Path], tuple[list[str], str, bool, str, str]]
CASES: dict[str, Case] = {
    "no folder": lambda tmp: (
        ["true"],
        f"{tmp}/none",
        False,
        "cwd-missing",
        f"there is no folder {tmp}/none",
    ),
    "a file for a folder": lambda tmp: (
        ["true"],
        put(tmp / "f", "", 0o600),
        False,
        "cwd-not-usable",
        f"{tmp}/f is a file, not a folder",
    ),
    "no command": lambda tmp: (
        ["masuka-no-such"],
        str(tmp),
        False,
        "command-not-found",
        "there is no command masuka-no-such in PATH",
    ),
    "no program": lambda tmp: (
        ["./serve"],
        str(tmp),
        False,
        "command-not-found",
        f"there is no program {tmp}/serve",
    ),
    "no Python": lambda tmp: (
        [f"{tmp}/bin/python", "x.py"],
        str(tmp),
        True,
        "interpreter-missing",
        f"there is no Python at {tmp}/bin/python",
    ),
    "not executable": lambda tmp: (
        [put(tmp / "s", "#!/bin/sh\n", 0o600)],
        str(tmp),
        False,
        "not-executable",
        f"{tmp}/s may not be executed: chmod +x",
    ),
    "no first line": lambda tmp: (
        [put(tmp / "s", "echo hello\n", 0o700)],
        str(tmp),
        False,
        "not-executable",
        f"{tmp}/s is no program: its first line names no interpreter (#!)",
    ),
    "an interpreter that is gone": lambda tmp: (
        [put(tmp / "s", "#!/no/such/python3 -u\n", 0o700)],
        str(tmp),
        False,
        "interpreter-missing",
        f"{tmp}/s is to be run by /no/such/python3, which is not there",
    ),
    "far too long": lambda tmp: (
        ["true", "x" * 3_000_000],
        str(tmp),
        False,
        "too-large",
        "the arguments and the environment are larger than the system takes",
    ),
    "a NUL": lambda tmp: (
        ["true", "\0"],
        str(tmp),
        False,
        "bad-argument",
        "true cannot be started: embedded null byte",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_why_nothing_was_started(case: Case, run: RunFolder, tmp_path: Path) -> None:
    """Each reason has its kind and one line, and no descriptor is left open."""
    argv, cwd, interpreter, reason, text = case(tmp_path)
    before = len(list(OWN_FILES.iterdir()))
    with pytest.raises(SpawnError) as refused:
        spawn(argv, dict(os.environ), cwd, run, interpreter=interpreter)
    assert (reason, text) == (refused.value.reason, str(refused.value))
    assert before == len(list(OWN_FILES.iterdir()))


@pytest.mark.parametrize(
    ("number", "reason", "text"),
    [
        (errno.EAGAIN, "no-resources", "the system starts no further process of this user (ulimit -u)"),
        (errno.ENOMEM, "no-resources", "the system has no memory left for a further process"),
        (errno.EIO, "other", "x was not started: Input/output error"),
    ],
)
def test_what_the_system_lacks_is_said(number: int, reason: str, text: str) -> None:
    """Errors that have nothing to do with the program are not blamed on it."""
    error = spawning._explained(OSError(number, os.strerror(number)), ["x"], "/", interpreter=False)
    assert (reason, text) == (error.reason, str(error))


def test_a_run_folder_that_is_gone_is_said(run: RunFolder) -> None:
    """Without its files a child is not started; a link in their place is not followed."""
    run.stderr.symlink_to("/dev/null")
    with pytest.raises(SpawnError, match=r"stderr\.log cannot be written") as refused:
        spawn(["true"], {}, "/", run)
    assert "log-not-writable" == refused.value.reason


# -- the whole -----------------------------------------------------------------------------------------


def test_a_launch_gives_process_identity_and_argv(
    run: RunFolder, tmp_path: Path, wait_until: Callable[..., object]
) -> None:
    """What was started is named, carries the run, and sees its own environment, folder and port."""
    code = "import os; print(os.environ['X'], os.getcwd(), os.sys.argv[1], flush=True); __import__('signal').pause()"
    target = Target("command", "x", (sys.executable, "-c", code, "{port}"))
    config = replace(CONFIG, target=target, cwd=str(tmp_path), env={"X": "y"})
    started = launch(config, 8123, os.environ, run)
    try:
        assert started.process.pid == started.leader.pid
        assert (sys.executable, "-c", code, "8123") == started.argv
        # The kernel lays the environment out a moment after the exec that Popen waits for.
        wait_until(lambda: carries_run(started.leader.pid, run.run))
        facts = look(started.leader.pid)
        assert facts is not None
        assert os.getpid() == facts.parent
    finally:
        started.process.kill()
        started.process.wait(20)


def test_output_of_a_launch_lands_in_the_run(run: RunFolder, tmp_path: Path) -> None:
    """A command's words reach its files."""
    target = Target("command", "x", ("/bin/sh", "-c", 'echo "$0 $1 {host}:{port}"; pwd >&2'))
    started = launch(replace(CONFIG, target=target, cwd=str(tmp_path), args=("one",)), 81, os.environ, run)
    assert 0 == started.process.wait(20)
    assert "sh one 127.0.0.1:81\n" == run.stdout.read_text("utf-8")
    assert f"{tmp_path}\n" == run.stderr.read_text("utf-8")


# -- gunicorn's worker ---------------------------------------------------------------------------------


def gunicorn(tmp_path: Path, source: str, **options: Any) -> StartConfig:
    (tmp_path / "main.py").write_text(source)
    config = replace(CONFIG, target=Target("app", "main:app"), server="gunicorn", cwd=str(tmp_path))
    return replace(config, **options)


def package(tmp_path: Path, name: str) -> dict[str, str]:
    """Make an environment in which a module of that name is found and no other of its kind."""
    folder = tmp_path / "lib" / Path(*name.split("."))
    folder.mkdir(parents=True)
    for level in (folder, *folder.parents):
        if level.name == "lib":
            break
        (level / "__init__.py").touch()
    return {"PYTHONPATH": str(tmp_path / "lib")}


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """Return an interpreter that has nothing installed."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize("module", ["uvicorn_worker", "uvicorn.workers"])
def test_the_worker_that_is_there_is_chosen(tmp_path: Path, bare: str, module: str) -> None:
    """The worker lives in a package of its own since uvicorn 0.30, and in uvicorn itself before."""
    config = gunicorn(tmp_path, "from fastapi import FastAPI\n", python=bare)
    assert f"{module}.UvicornWorker" == gunicorn_worker(config, package(tmp_path, module))


def test_an_asgi_application_without_a_worker_is_one_clear_line(tmp_path: Path, bare: str) -> None:
    """The workers that gunicorn has would answer every request with an error."""
    config = gunicorn(tmp_path, "from fastapi import FastAPI\n", python=bare)
    with pytest.raises(
        ConfigError, match=r"^server: gunicorn needs a worker class .* pip install uvicorn-worker, or"
    ):
        gunicorn_worker(config, {})


@pytest.mark.parametrize(
    "source", ["from flask import Flask\n", "from django.core.wsgi import get_wsgi_application\n"]
)
def test_wsgi_is_left_to_gunicorn(tmp_path: Path, source: str) -> None:
    """What is WSGI by its imports needs no worker of ours; the interpreter is not even asked."""
    assert gunicorn_worker(gunicorn(tmp_path, source, python="/none"), {}) is None


def test_who_has_chosen_is_not_overruled(tmp_path: Path) -> None:
    """Arguments, gunicorn's variable and its file may name a worker: then ours would hide it."""
    config = gunicorn(tmp_path, "from fastapi import FastAPI\n", python="/none")
    assert gunicorn_worker(replace(config, args=("-k", "sync")), {}) is None
    assert gunicorn_worker(replace(config, args=("-c", "conf.py")), {}) is None
    assert gunicorn_worker(config, {"GUNICORN_CMD_ARGS": "-k sync"}) is None
    (tmp_path / "gunicorn.conf.py").touch()
    assert gunicorn_worker(config, {}) is None


def test_other_servers_are_not_asked(tmp_path: Path) -> None:
    """Only gunicorn has the question."""
    assert gunicorn_worker(gunicorn(tmp_path, "", python="/none", server="uvicorn"), {}) is None
