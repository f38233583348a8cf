"""The redrawn picture in a real terminal: ipython on a pty, read back through a terminal emulator."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte
import pytest

Write = Callable[[str, str], Path]

SLOW = """
    import time
    from fastapi import FastAPI

    for i in range(4):
        print("loading", i, flush=True)
        time.sleep(0.3)
    app = FastAPI()

    @app.get("/health")
    def health():
        return {"app": "Drawn", "version": "3"}
"""


class Terminal:
    """An ipython on a pty of 80 columns, and what its screen shows."""

    def __init__(self, folder: Path) -> None:
        self.screen = pyte.Screen(80, 40)
        self._stream = pyte.Stream(self.screen)
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "IPYTHONDIR": str(folder),
            "PYTHONWARNINGS": "ignore",
        }
        arguments = [
            "-m",
            "IPython",
            "--no-banner",
            "--no-confirm-exit",
            "--simple-prompt",
            "--colors=NoColor",
        ]
        self.child = pexpect.spawn(
            sys.executable, arguments, env=environment, dimensions=(40, 80), encoding="utf-8"
        )

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def wait_for(self, text: str, timeout: float = 40.0) -> list[str]:
        deadline = time.monotonic() + timeout
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, "\n".join(self.lines)
            try:
                self._stream.feed(self.child.read_nonblocking(10_000, 0.1))
            except pexpect.TIMEOUT:
                continue
        return self.lines


@pytest.fixture
def terminal(tmp_path: Path):
    """Give a terminal with the extension loaded."""
    terminal = Terminal(tmp_path / "ipython")
    terminal.wait_for("In [1]:")
    terminal.child.send("%load_ext masuka_magic\n")
    terminal.wait_for("In [2]:")
    yield terminal
    terminal.child.send("%masuka_stop\n")
    terminal.wait_for("backend: stopped")
    terminal.child.close(force=True)


def test_the_picture_is_redrawn_in_place(
    terminal: Terminal, write: Write, project: Path, free_port: int
) -> None:
    """While it starts the running stage and the last log line move; afterwards each stage stands there once."""
    write("main.py", SLOW)
    terminal.child.send(f"%masuka_start main:app --port {free_port} --no-database --cwd {project}\n")
    terminal.wait_for("│ loading")
    lines = terminal.wait_for("ready in ")
    for stage in ("port", "import", "server", "ready"):
        assert (
            len([line for line in lines if line[:14].split()[1:] == [stage] and line.startswith("  ")]) == 1
        )
    assert not any("loading" in line for line in lines)
    assert any("Drawn 3, GET /health answered 200" in line for line in lines)
