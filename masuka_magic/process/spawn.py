"""Start the process of a run: its environment, its files, and the reason when the system will not start it.

The child appends to files of its own and reads nothing; nothing it does can wait for this process. What comes
of it is watched elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from masuka_magic.config.model import ConfigError
from masuka_magic.process.argv import build_argv, names_worker
from masuka_magic.process.identity import RUN_VARIABLE, ProcessIdentity, identify

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig
    from masuka_magic.process.folder import RunFolder

__all__ = ["Launched", "SpawnError", "build_argv", "child_environment", "gunicorn_worker", "launch", "spawn"]

SpawnReason = Literal[
    "cwd-missing",
    "cwd-not-usable",
    "interpreter-missing",
    "command-not-found",
    "not-executable",
    "too-large",
    "no-resources",
    "bad-argument",
    "log-not-writable",
    "other",
]

# ipykernel puts its plotting backend, which draws into cells, into the kernel's environment (MPLBACKEND, in
# ipykernel/kernelapp.py, init_gui_pylab). In an interpreter that lacks matplotlib_inline, matplotlib 3.11 fails
# at `import matplotlib` with it ("not a valid value for backend"). Started by hand, a backend does not have it.
_INLINE_BACKENDS = frozenset(
    {"module://matplotlib_inline.backend_inline", "module://ipykernel.pylab.backend_inline"}
)

_WORKERS = {
    "uvicorn_worker": "uvicorn_worker.UvicornWorker",
    "uvicorn.workers": "uvicorn.workers.UvicornWorker",
}
_ASK_FOR_WORKERS = f"""
import importlib.util
for name in {tuple(_WORKERS)!r}:
    try:
        if importlib.util.find_spec(name):
            print(name)
            break
    except ModuleNotFoundError:
        pass
"""
_ASK_TIMEOUT_S = 20.0
_ASGI = re.compile(r"asgi|\b(?:fastapi|starlette|quart|litestar|blacksheep|robyn)\b", re.IGNORECASE)
_WSGI = re.compile(r"\b(?:get_wsgi_application|flask|bottle|pyramid|cherrypy|web2py)\b", re.IGNORECASE)
_SOURCE_BYTES = 256 * 1024


class SpawnError(Exception):
    """The system did not start the process: one line, the kind of reason, and the path that it is about."""

    def __init__(self, reason: SpawnReason, text: str, path: str | None = None) -> None:
        """Take the line as it is shown: lower case, no full stop."""
        super().__init__(text)
        self.reason, self.path = reason, path


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that was started, named while it cannot yet have been reaped. `argv` is not masked."""

    process: subprocess.Popen[bytes]
    leader: ProcessIdentity
    argv: tuple[str, ...]


def launch(config: StartConfig, port: int, environ: Mapping[str, str], folder: RunFolder) -> Launched:
    """Start what a configuration describes. Raises ConfigError or SpawnError; then nothing was started."""
    environment = child_environment(config, environ, folder)
    argv = build_argv(config, port, gunicorn_worker=gunicorn_worker(config, environment))
    process = spawn(argv, environment, config.cwd, folder, interpreter=config.target.kind != "command")
    leader = identify(process.pid)
    if leader is None:  # Only where nothing is known of zombies (macOS): it has ended already.
        process.wait()
        raise SpawnError(
            "other", f"{argv[0]} ended before it could be looked at, with code {process.returncode}"
        )
    return Launched(process, leader, argv)


def child_environment(config: StartConfig, environ: Mapping[str, str], folder: RunFolder) -> dict[str, str]:
    """Build the child's environment: the kernel's, what the user adds to it, and what we add to that.

    Added to, never replaced; the one thing that is left out is the notebook's own plotting backend.
    """
    child = {**environ, **config.env}
    if "MPLBACKEND" not in config.env and child.get("MPLBACKEND") in _INLINE_BACKENDS:
        del child["MPLBACKEND"]
    for name in ("PYTHONUNBUFFERED", "PYTHONFAULTHANDLER"):
        child.setdefault(name, "1")
    child[RUN_VARIABLE] = folder.run
    return child


def spawn(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, folder: RunFolder, *, interpreter: bool = True
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output appended to the run's files.

    `interpreter` says whether argv[0] is the Python that was chosen, for the words of the error. Raises
    SpawnError; then nothing was started, and no descriptor is left open.
    """
    logs: list[int] = []
    try:
        logs.extend(_open_log(path) for path in (folder.stdout, folder.stderr))
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=logs[0],
            stderr=logs[1],
            cwd=cwd,
            env=dict(env),
            close_fds=True,
            start_new_session=True,
        )
    except OSError as error:
        raise _explained(error, argv, cwd, interpreter=interpreter) from error
    except ValueError as error:  # A NUL in a word, a `=` in a variable's name.
        raise SpawnError("bad-argument", f"{argv[0]} cannot be started: {error}") from error
    finally:
        for log in logs:
            os.close(log)


def _open_log(path: Path) -> int:
    try:
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpawnError(
            "log-not-writable", f"{path} cannot be written: {error.strerror}", str(path)
        ) from error
    os.fchmod(log, 0o600)
    return log


def _explained(error: OSError, argv: Sequence[str], cwd: str, *, interpreter: bool) -> SpawnError:
    """Say what the system meant: it has one errno for the folder, the program and its interpreter."""
    folder, program = Path(cwd), argv[0]
    if not folder.exists():
        return SpawnError("cwd-missing", f"there is no folder {cwd}", cwd)
    if not folder.is_dir() or not os.access(folder, os.X_OK):
        what = "may not be entered" if folder.is_dir() else "is a file, not a folder"
        return SpawnError("cwd-not-usable", f"{cwd} {what}", cwd)
    if error.errno == errno.ENOENT:
        return _not_found(program, folder, interpreter=interpreter)
    texts: dict[int, tuple[SpawnReason, str]] = {
        errno.EACCES: ("not-executable", f"{program} may not be executed: chmod +x"),
        errno.ENOEXEC: (
            "not-executable",
            f"{program} is no program: its first line names no interpreter (#!)",
        ),
        errno.E2BIG: ("too-large", "the arguments and the environment are larger than the system takes"),
        errno.EAGAIN: ("no-resources", "the system starts no further process of this user (ulimit -u)"),
        errno.ENOMEM: ("no-resources", "the system has no memory left for a further process"),
    }
    reason, text = texts.get(error.errno or 0, ("other", f"{program} was not started: {error.strerror}"))
    return SpawnError(reason, text, program)


def _not_found(program: str, folder: Path, *, interpreter: bool) -> SpawnError:
    if "/" not in program:
        return SpawnError("command-not-found", f"there is no command {program} in PATH", program)
    if not (folder / program).exists():
        if interpreter:
            return SpawnError("interpreter-missing", f"there is no Python at {program}", program)
        return SpawnError("command-not-found", f"there is no program {folder / program}", program)
    with (folder / program).open("rb") as script:
        words = script.readline(256)[2:].split()
    wanted = words[0].decode("utf-8", "replace") if words else "its interpreter"
    return SpawnError(
        "interpreter-missing", f"{program} is to be run by {wanted}, which is not there", wanted
    )


def gunicorn_worker(config: StartConfig, env: Mapping[str, str]) -> str | None:
    """Choose the worker class that gunicorn needs for an ASGI application; None to leave gunicorn its own.

    None for every other server, where the user or a file of gunicorn's own may have chosen, and for what
    looks like WSGI. Asks the backend's interpreter. Raises ConfigError when a worker is needed and there is none.
    """
    if config.target.kind != "app" or config.server != "gunicorn" or names_worker(config.args):
        return None
    own_file = "GUNICORN_CMD_ARGS" in env or any(word.startswith(("-c", "--config")) for word in config.args)
    if own_file or (Path(config.cwd) / "gunicorn.conf.py").exists():
        return None
    source = _source(config)
    if _ASGI.search(source) is None and _WSGI.search(source) is not None:
        return None
    try:
        asked = subprocess.run(
            [config.python, "-c", _ASK_FOR_WORKERS],
            cwd=config.cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # The start that follows fails for the same reason, and says it.
    found = _WORKERS.get(asked.stdout.decode("utf-8", "replace").strip())
    if found is None and asked.returncode == 0 and _ASGI.search(source) is not None:
        raise ConfigError(
            f"server: gunicorn needs a worker class for an ASGI application, and {config.python} has none; "
            'pip install uvicorn-worker, or set server = "uvicorn"'
        )
    return found


def _source(config: StartConfig) -> str:
    """Read the beginning of the application's module, where it lies in the backend's folder; else nothing."""
    module = Path(config.cwd, *config.target.value.partition(":")[0].split("."))
    for path in (module.with_suffix(".py"), module / "__init__.py"):
        if path.is_file():
            with path.open("rb") as source:
                return source.read(_SOURCE_BYTES).decode("utf-8", "replace")
    return ""
