"""What every test may ask for: a free port, a state folder of its own, a wait with a deadline.

And what no test may leave behind: a process that was started under this session's folders.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

T = TypeVar("T")

POLL_S = 0.02
# A guardian or a server that was told to stop needs a moment for it, on a slow machine a long one.
LEFTOVER_GRACE_S = 10.0
# Below what Linux hands out by itself (32768 and up), so that no client's socket takes a port in between.
PORTS = range(20_000, 32_000)


class Processes:
    """The running processes whose environment is wanted, whoever their parent, session or group is."""

    def __init__(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        self._wanted = wanted

    def running(self) -> list[psutil.Process]:
        """Return them as they are now; zombies and other users' processes are passed over."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and self._wanted(process.environ()):
                    found.append(process)
            except (psutil.Error, OSError):
                continue  # It ended meanwhile, or it is somebody else's: not one that a test started.
        return found

    def end(self, grace_s: float = LEFTOVER_GRACE_S) -> list[str]:
        """Wait for them to end, kill those that stay, and return which those were."""
        deadline = time.monotonic() + grace_s
        while (left := self.running()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        lines = []
        for process in left:
            try:
                lines.append(f"{process.pid}: {' '.join(process.cmdline())}")
                process.kill()
            except psutil.NoSuchProcess:
                continue  # It went by itself in this very moment.
        return lines


@pytest.fixture(scope="session")
def processes_where() -> type[Processes]:
    """Give `processes_where(lambda environment: …)`, which has `running()` and `end()`."""
    return Processes


@pytest.fixture(scope="session", autouse=True)
def _no_process_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the session that leaves a backend or a guardian running, and end it."""
    folders = str(tmp_path_factory.getbasetemp())
    yield
    ours = Processes(lambda env: "MASUKA_RUN" in env and env.get("XDG_STATE_HOME", "").startswith(folders))
    assert ours.end() == [], "processes of this session were still running at its end"


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test, and what it starts, a state folder of its own; return it."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return state


@pytest.fixture(scope="session")
def take_port() -> Callable[[], int]:
    """Give a function that returns a port of 127.0.0.1 on which nobody listens, never the same one twice."""
    candidates = iter(random.SystemRandom().sample(PORTS, len(PORTS)))

    def take() -> int:
        for port in candidates:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue  # In use: try the next one.
            return port
        pytest.fail(f"no free port in {PORTS}")

    return take


@pytest.fixture
def free_port(take_port: Callable[[], int]) -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    return take_port()


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., object]:
    """Give `wait_until(condition, timeout=20.0, what="…")`; it returns the condition's first true value."""

    def wait(condition: Callable[[], T], timeout: float = 20.0, what: str = "the condition") -> T:
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"{what} did not come true within {timeout:g} s; its last value was {value!r}")
            time.sleep(POLL_S)
        return value

    return wait
