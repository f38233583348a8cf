"""Real children of a run, and a promise that none outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masuka_magic.process.identity import ProcessIdentity, identify, is_alive
from masuka_magic.process.stop import StopResult, stop_tree
from masuka_magic.process.tree import members

PRELUDE = """
import os, signal, subprocess, sys, time
def ready(name="ready"):
    with open(os.path.join(FOLDER, name + ".part"), "w") as file:
        file.write(str(os.getpid()))
    os.rename(os.path.join(FOLDER, name + ".part"), os.path.join(FOLDER, name))
def wait():
    while True:
        signal.pause()
"""


@dataclass
class Family:
    """One run: its leader, a folder in which its processes leave their pids when they are ready."""

    folder: Path
    run: str
    wait_until: Callable[..., object]
    process: subprocess.Popen[bytes]
    leader: ProcessIdentity
    steps: list[str] = field(default_factory=list)

    def named(self, name: str) -> ProcessIdentity:
        """Wait until a process has said that it is ready, and return who it is."""
        path = self.folder / name
        self.wait_until(path.exists, what=f"the child's file {name}")
        identity = identify(int(path.read_text("ascii")))
        assert identity is not None
        return identity

    def stop(self, *, grace_s: float = 10.0, kill_now: threading.Event | None = None) -> StopResult:
        return stop_tree(
            self.run,
            self.leader,
            grace_s=grace_s,
            kill_now=kill_now or threading.Event(),
            on_step=self.steps.append,
            reap=self.process.poll,
        )


@pytest.fixture
def family(tmp_path: Path, wait_until: Callable[..., object]) -> Iterator[Callable[..., Family]]:
    """Give `family(source)`: start Python source as the leader of a run of its own, and wait until it is ready."""
    started: list[Family] = []

    def start(source: str, *, carries: bool = True, run: str | None = None) -> Family:
        folder = tmp_path / f"family-{len(started)}"
        folder.mkdir()
        run = run or f"{folder}-run"
        environ = {key: value for key, value in os.environ.items() if key != "MASUKA_RUN"}
        if carries:
            environ["MASUKA_RUN"] = run
        process = subprocess.Popen(
            [sys.executable, "-c", f"FOLDER = {str(folder)!r}\n{PRELUDE}\n{source}"],
            env=environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        leader = identify(process.pid)
        assert leader is not None
        born = Family(folder, run, wait_until, process, leader)
        started.append(born)
        born.named("ready")
        return born

    yield start
    for one in started:
        left = {*members(one.run, one.leader)}
        for path in one.folder.iterdir():
            named = identify(int(path.read_text("ascii") or "0") or 2**30)
            left |= {named} if named is not None else set()
        for identity in left:
            if is_alive(identity):
                os.kill(identity.pid, signal.SIGKILL)
        one.process.kill()
        one.process.wait()
