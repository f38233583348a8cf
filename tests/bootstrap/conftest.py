"""Real children of the bootstrap, and the same children by hand, side by side."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masuka_magic.process import reports as reports_module
from masuka_magic.process.reports import Report, ReportReader

BOOTSTRAP = Path(reports_module.__file__).with_name("bootstrap.py")
DEADLINE_S = 40.0
POLL_S = 0.02

# A server in one module: it imports the application as every server does, and then waits for nothing.
SERVE = """
    import importlib, sys
    module = importlib.import_module(sys.argv[1])
    print("served", module.__name__)
"""

# An ASGI application without a framework. It notes each of its imports, and answers with what it saw then.
APP = """
    import asyncio, json, logging, os, sys
    with open("imports", "a") as file:
        file.write(f"{os.getpid()}\\n")
    try:
        asyncio.get_running_loop()
        loop = "running"
    except RuntimeError:
        loop = "none"
    logger = logging.getLogger("app.made.at.import")
    seen = {
        "argv": sys.argv[:], "path0": sys.path[0], "loop": loop, "setting": os.environ.get("SETTING"),
        "loader": type(__loader__).__name__, "loader_dict": sorted(__loader__.__dict__),
        "excepthook": sys.excepthook is sys.__excepthook__,
    }

    def double(number):
        return 2 * number

    def pool():
        import multiprocessing
        with multiprocessing.get_context("spawn").Pool(1) as workers:
            return workers.apply(double, (21,))

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/pool":
            answer = {"pool": await asyncio.get_running_loop().run_in_executor(None, pool)}
        else:
            answer = dict(seen, logger_disabled=logger.disabled, finders=len(sys.meta_path))
        body = json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def make():
        return app
"""


@dataclass
class Child:
    """A process that a test started, the leader of a session of its own."""

    process: subprocess.Popen[bytes]
    cwd: Path
    run: Path
    out: Path
    reader: ReportReader = field(init=False)
    reports: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = ReportReader(self.run)

    def wait(self) -> int:
        """Return the return code; fail the test when the process does not end."""
        return self.process.wait(timeout=DEADLINE_S)

    def all(self, kind: type[Report] = Report) -> list[Report]:
        """Return all reports of a kind so far."""
        self.reports += self.reader.read_new()
        return [report for report in self.reports if isinstance(report, kind)]

    @property
    def kinds(self) -> list[str]:
        return [type(report).__name__ for report in self.all()]

    @property
    def stdout(self) -> str:
        return self.out.with_suffix(".out").read_text()

    @property
    def stderr(self) -> str:
        return self.out.with_suffix(".err").read_text()

    def imports(self) -> int:
        """Count how often the application was imported."""
        path = self.cwd / "imports"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until the condition holds; fail the test when it does not, or when the process has ended."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if self.process.poll() is not None:
                pytest.fail(f"ended with {self.process.returncode} before {what}:\n{self.stderr}")
            if time.monotonic() > deadline:
                pytest.fail(f"no {what} within {DEADLINE_S:g} s:\n{self.stderr}")
            time.sleep(POLL_S)

    def ask(self, port: int, path: str = "/") -> dict[str, object]:
        """Return the answer of a server that comes up within the deadline."""
        answers: list[dict[str, object]] = []

        def answered() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as answer:
                    answers.append(json.load(answer))
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False
            return True

        self.until(answered, f"answer on port {port}")
        return answers[-1]

    def stop(self) -> None:
        """Ask the session's leader to end, then kill what is left of the session."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):  # Killed below.
                self.process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):  # All of it has ended.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


Launch = Callable[..., Child]


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes a folder with files: a keyword's `__` stands for the `/` of a path."""

    def write(name: str, files: dict[str, str]) -> Path:
        folder = tmp_path / name
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(textwrap.dedent(text).lstrip())
        return folder

    return write


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[[], Path]:
    """Give a function that makes a run folder as the kernel does."""

    def make() -> Path:
        folder = tmp_path / f"20250101T000000.000000Z-{secrets.token_hex(16)}"
        folder.mkdir(mode=0o700)
        os.mkfifo(folder / "wake", 0o600)
        return folder

    return make


@pytest.fixture
def launch(tmp_path: Path, run_folder: Callable[[], Path]) -> Iterator[Launch]:
    """Give a function that starts `python ARGUMENTS` in a folder: watched with the options of the bootstrap
    before the arguments (`options`), or by hand (`options=None`).
    """
    children: list[Child] = []

    def start(
        cwd: Path,
        *arguments: str,
        options: tuple[str, ...] | None = (),
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        run: Path | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Child:
        folder = run or run_folder()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        # Written and then read back: a second start would otherwise not be like the first.
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"} | (env or {})
        command = [*prefix, python, *arguments]
        if options is not None:
            environment.setdefault("MASUKA_RUN", str(folder))
            command = [*prefix, python, str(BOOTSTRAP), *options, *arguments]
        out = tmp_path / f"child-{len(children)}"
        with out.with_suffix(".out").open("wb") as stdout, out.with_suffix(".err").open("wb") as stderr:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        children.append(Child(process, cwd, folder, out))
        return children[-1]

    yield start
    for child in children:
        child.stop()


@pytest.fixture
def serve(launch: Launch, project: Callable[..., Path]) -> Callable[..., Child]:
    """Give a function that lets a server of one module import `app.main` of these files, and waits for its end."""

    def run(
        files: dict[str, str], *, application: str = "app.main:app", watched: bool = True, **how: object
    ) -> Child:
        cwd = project("watched" if watched else "by-hand", {**files, "serve.py": SERVE})
        options = ("--app", application) if watched else None
        child = launch(cwd, "-m", "serve", application.partition(":")[0], options=options, **how)
        child.wait()
        return child

    return run


@pytest.fixture
def app_files() -> dict[str, str]:
    """Return a package `app` whose `app.main` notes each of its imports."""
    return {"app/__init__.py": "", "app/main.py": APP}


def without_runpy(text: str) -> str:
    """Take the two frames of `python -m` out of tracebacks, and the names of this test's two folders."""
    text = re.sub(r'  File "(<frozen runpy>|[^"]*/runpy\.py)", line \d+, in .*\n(    .*\n)*', "", text)
    return text.replace("/by-hand/", "/watched/")


@pytest.fixture
def shown() -> Callable[[str], str]:
    """Give `without_runpy`."""
    return without_runpy
