"""The object that users see as `masuka`: one started backend, from the checks to its end.

It reads the board and asks the supervisor; it draws nothing and never touches a process itself.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from masuka_magic.state import OVER

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from masuka_magic.board import Board
    from masuka_magic.config.model import StartConfig
    from masuka_magic.diagnosis.findings import Finding
    from masuka_magic.events import Phase
    from masuka_magic.process.logs import LogFile
    from masuka_magic.reuse import Sources
    from masuka_magic.session import Session
    from masuka_magic.state import State
    from masuka_magic.supervisor import Supervisor

#: How long a thread is waited for that has nothing left to do but to close its files.
_LAST_STEPS_S = 5.0


class MaskedLog:
    """One captured stream of a run. What it returns is masked; the file at `path` is as it was written."""

    def __init__(self, log: LogFile, supervisor: Supervisor) -> None:
        self.file = log
        self.mask = supervisor.run.mask

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.file.size

    def tail(self, n: int = 200) -> list[str]:
        """Return the last `n` lines; the file is read from its end."""
        return [self.mask(line) for line in self.file.tail(n).lines]

    def read(self) -> str:
        """Return the whole stream. Reads the whole file: a log may be large."""
        return self.mask(self.file.read())

    def __repr__(self) -> str:
        return f"<{self.path.name}: {self.size:,} bytes>"


class Backend:
    """A started backend. Every attribute is as of now; methods wait until what they promise has happened."""

    def __init__(self, config: StartConfig, supervisor: Supervisor, board: Board, session: Session) -> None:
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None
        self.sources: Sources = {}
        self._supervisor = supervisor
        self._board = board
        self._session = session
        self._kernel = os.getpid()
        run = supervisor.run
        self.stdout = MaskedLog(run.stdout, supervisor)
        self.stderr = MaskedLog(run.stderr, supervisor)

    @property
    def board(self) -> Board:
        return self._board

    @property
    def snapshot(self) -> State:
        """All that is known now, as one frozen value."""
        return self._board.state

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def state(self) -> Phase:
        return self.snapshot.phase

    @property
    def url(self) -> str:
        return self._supervisor.run.url

    @property
    def pid(self) -> int | None:
        return self.snapshot.pid

    @property
    def returncode(self) -> int | None:
        return self.snapshot.returncode

    @property
    def run_folder(self) -> Path:
        return self._supervisor.run.path

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by name: `preflight`, `import`, `ready` (from the beginning of the start)."""
        return self.snapshot.timings

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, best first; empty while nothing is."""
        return list(self.snapshot.findings)

    @property
    def over(self) -> bool:
        """Whether nothing of this run is alive any more."""
        return self.state in OVER

    @property
    def age_s(self) -> float | None:
        """Seconds since it was spawned; None before that."""
        spawned = self.snapshot.spawned
        return None if spawned is None else time.monotonic() - spawned

    def stop(self) -> None:
        """Stop the backend and all that it started; returns when they are gone.

        TERM, then KILL after a grace of 10 s; an interrupt meanwhile is KILL now. Stopping what is over does
        nothing.
        """
        self._own()
        if self.over:
            self.settle()
            return
        self.ask_stop("stopping")
        try:
            self.wait_over()
        except KeyboardInterrupt:
            self.kill_now()
            self.wait_over()

    def restart(self) -> Backend:
        """Stop it, then start the same again; returns the new backend.

        Raises StartFailed like a start. Names such as `$HF_TOKEN` keep the values of the first start.
        """
        return self._session.restart(self)

    def ask_stop(self, text: str) -> None:
        """Ask for a stop without waiting for it."""
        self._own()
        self._supervisor.stop(text)

    def kill_now(self) -> None:
        """Cut the grace of a stop under way short."""
        self._supervisor.kill_now.set()

    def settle(self) -> None:
        """Wait for the last steps of a run that is over: what it left behind is stopped, its files are closed."""
        self._supervisor.join(_LAST_STEPS_S)

    def states(self, tick_s: float | None) -> Iterator[State]:
        """Yield the state now, at every change, and every `tick_s` seconds if nothing changes."""
        version = -1
        while True:
            version, state = self._board.wait_change(version, tick_s)
            yield state

    def wait_over(self) -> None:
        """Wait until nothing of the run is alive any more."""
        while self._board.wait_until(lambda state: state.phase in OVER, 0.5).phase not in OVER:
            if self._supervisor.join(0.0):
                break
        self.settle()

    def _own(self) -> None:
        if os.getpid() != self._kernel:
            raise RuntimeError(
                f"this process is a fork: the backend belongs to process {self._kernel}, stop it there"
            )

    def __repr__(self) -> str:
        pid = f", pid {self.pid}" if self.pid is not None and not self.over else ""
        return f"<masuka {self.name}: {self.state}, {self.url}{pid}>"
