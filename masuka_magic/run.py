"""One run: its folder, its process, its logs and its record; what of it can be observed or acted on.

The thin edge below the supervisor: it returns data and takes no decision about the start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.process import folder as folders
from masuka_magic.process.identity import ProcessIdentity, identify, open_pidfd
from masuka_magic.process.logs import LogFile
from masuka_magic.process.record import Record, fingerprint, proved, read_record, write_record
from masuka_magic.process.reports import ReportReader
from masuka_magic.process.tree import members, usage
from masuka_magic.redact import Redactor

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from threading import Event as ThreadEvent

    from masuka_magic import events
    from masuka_magic.config.model import StartConfig
    from masuka_magic.process.folder import RunFolder
    from masuka_magic.process.stop import StopResult

#: Log lines that the state carries for the views.
SHOWN_LINES = 3
#: What is read of a log's end to see whether it says something new.
LOOK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Owner:
    """Whether our tree holds the listener: True, False (then `note` says who does), or None: it cannot be seen."""

    ours: bool | None
    note: str | None = None


class Run:
    """Everything of one run that is not a decision. Belongs to the supervisor's thread, but for `mask` and paths."""

    def __init__(self, config: StartConfig, folder: RunFolder, port: int, notes: tuple[str, ...]) -> None:
        self.config = config
        self.folder = folder
        self.port = port
        self.notes = notes
        self.process: subprocess.Popen[bytes] | None = None
        self.leader: ProcessIdentity | None = None
        self.argv: tuple[str, ...] = ()
        self.stdout = LogFile(folder.stdout)
        self.stderr = LogFile(folder.stderr)
        self.reports = ReportReader(folder.path)
        self.wake_fd: int | None = None
        self._probe_host = probe_host(config.host)
        self._redactor = Redactor(config.secrets)
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._pidfd: int | None = None
        self._log_size = -1
        self._outcome: dict[str, object] | None = None

    @classmethod
    def create(cls, config: StartConfig, environ: Mapping[str, str], notes: list[str]) -> Run:
        """Make the folder of a new run and choose its port. Raises FolderError or OSError: nothing was started."""
        from masuka_magic.preflight.port import pick_free_port

        folder = folders.new_run_folder(config.cwd, config.target, config.name, environ)
        if folder.note is not None:
            notes = [*notes, folder.note]
        port = pick_free_port(config.host) if config.port is None else config.port
        run = cls(config, folder, port, tuple(notes))
        with contextlib.suppress(OSError):  # without a FIFO the reports are read at the next look
            # Read-write, so that the end of one writer is no end of file.
            run.wake_fd = os.open(folder.wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return run

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def url(self) -> str:
        """The address at which the backend is asked: numeric, so that no name has to be looked up again."""
        host = self._probe_host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    # -- text that may be shown ------------------------------------------------------------------------

    def mask(self, text: str) -> str:
        """Hide secrets. May be called from any thread."""
        return self._redactor.text(text)

    def mask_answer(self, answer: events.Answer) -> events.Answer:
        return replace(
            answer,
            name=None if answer.name is None else self.mask(answer.name),
            version=None if answer.version is None else self.mask(answer.version),
            location=None if answer.location is None else self.mask(answer.location),
            body=self.mask(answer.body),
        )

    # -- the process -----------------------------------------------------------------------------------

    def spawn(self, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start the backend. Raises SpawnError or ConfigError; then nothing runs."""
        from masuka_magic.process.spawn import launch

        launched = launch(self.config, self.port, environ, self.folder)
        self.process, self.leader, self.argv = launched.process, launched.leader, launched.argv
        return launched.process

    def open_pidfd(self) -> int | None:
        """Open a descriptor that turns readable when the child ends; None where there is no such thing."""
        if self.leader is not None:
            self._pidfd = open_pidfd(self.leader)
        return self._pidfd

    def drain_wake(self) -> None:
        if self.wake_fd is not None:
            with contextlib.suppress(BlockingIOError):
                while os.read(self.wake_fd, 4096):
                    pass

    def reap(self) -> int | None:
        """Collect the child's exit code; None when it was never spawned or lives on."""
        if self.process is None:
            return None
        with contextlib.suppress(Exception):
            # The pidfd says that it has ended; the wait only collects it.
            self.process.wait(timeout=1.0)
        return self.process.returncode

    def members(self) -> list[ProcessIdentity]:
        """List what lives of this run."""
        return [] if self.process is None else members(self.folder.run, self.leader)

    def usage(self) -> tuple[float, int]:
        """Processor seconds and resident bytes of the tree."""
        return usage(self.members())

    def prove_owner(self) -> Owner:
        """Look whether the listener belongs to our tree."""
        from masuka_magic.process.listeners import describe_process, listeners, owners_among

        # The leader is nearly always the one, and to ask for it alone needs no look at all processes.
        if self.leader is not None and owners_among(self.port, [self.leader.pid]) is not None:
            return Owner(ours=True)
        if owners_among(self.port, [member.pid for member in self.members()]) is not None:
            return Owner(ours=True)
        held = [listener.pid for listener in listeners(self.port) if listener.pid is not None]
        if not held:
            return Owner(ours=None, note="owner unproved: whose listener answers cannot be seen here")
        known = describe_process(held[0])
        return Owner(
            ours=False, note=self.mask(f"answered by pid {held[0]} ({known.command}), which is not ours")
        )

    def stop_tree(
        self, *, grace_s: float, kill_now: ThreadEvent, on_step: Callable[[str], object]
    ) -> StopResult | None:
        """Stop everything of this run; None when nothing was ever spawned."""
        from masuka_magic.process.stop import stop_tree

        process = self.process
        if process is None:
            return None
        return stop_tree(
            self.folder.run,
            self.leader,
            grace_s=grace_s,
            kill_now=kill_now,
            on_step=on_step,
            reap=process.poll,
        )

    # -- what it writes --------------------------------------------------------------------------------

    def read_log_tail(self) -> tuple[int, tuple[str, ...], tuple[str, ...]] | None:
        """Return both logs' size, the last lines for the views, and all lines of the newest bytes.

        None when nothing was written since the last call. Everything is masked.
        """
        size = self.stderr.size + self.stdout.size
        if size == self._log_size:
            return None
        self._log_size = size
        lines = tuple(
            self.mask(line)
            for log in (self.stdout, self.stderr)
            for line in log.tail(50, max_bytes=LOOK_BYTES).lines
            if line.strip()
        )
        return size, lines[-SHOWN_LINES:], lines

    # -- the record ------------------------------------------------------------------------------------

    def usual_ready_s(self) -> float | None:
        """Seconds that this backend's earlier runs took to be ready: their median; None without history."""
        seconds = []
        for earlier in folders.list_runs(self.folder.key_folder):
            record = read_record(earlier.path).record
            ready_s = (record.outcome or {}).get("ready_s") if record is not None else None
            if isinstance(ready_s, int | float):
                seconds.append(float(ready_s))
        return statistics.median(seconds) if seconds else None

    def write_record(self, outcome: str, *, ready_s: float | None = None) -> str | None:
        """Write down what became of the run; returns why not when the disk does not take it."""
        kernel = identify(os.getpid())
        if self.leader is None or kernel is None:
            return None
        kept = (self._outcome or {}).get("ready_s")
        self._outcome = {"state": outcome, "at": time.time(), "ready_s": kept if ready_s is None else ready_s}
        if self.process is not None and self.process.returncode is not None:
            self._outcome["returncode"] = self.process.returncode
        record = Record(
            service=self.config.name,
            run=self.folder.run,
            argv=self.argv,
            cwd=self.config.cwd,
            host=self.config.host,
            port=self.port,
            url=self.url,
            process=self.leader,
            kernel=kernel,
            started_at=self._started_at,
            config=self.config.raw,
            fingerprint=fingerprint(self.config, self.folder.run),
            outcome=self._outcome,
        )
        try:
            write_record(self.path, record, self.mask)
        except OSError as error:
            return f"the run's record could not be written: {error.strerror}"
        return None

    def discard(self) -> None:
        """Delete the folder of a run that never was one: of checks alone."""
        shutil.rmtree(self.path, ignore_errors=True)

    def prune(self) -> None:
        """Keep the newest runs of this backend; a folder that cannot be deleted stays for the next time."""
        folders.prune(self.folder.key_folder)

    def close(self) -> None:
        for descriptor in (self._pidfd, self.wake_fd):
            if descriptor is not None:
                os.close(descriptor)
        self._pidfd = self.wake_fd = None


def probe_host(host: str) -> str:
    """Return the numeric address to ask for a host: the loopback for a wildcard, else the name's own address.

    IPv4 first: of a name with both, such as localhost, some servers bind the IPv4 address alone (gunicorn,
    hypercorn), and those that bind both answer there too.
    """
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "::1"
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return host  # the port check says that there is no such host
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def left_over(environ: Mapping[str, str]) -> list[tuple[Record, RunFolder]]:
    """Find runs that live on without the kernel that started them, each proved to be ours."""
    from masuka_magic.process.identity import is_alive

    found = []
    for key in folders.key_folders(environ):
        for folder in folders.list_runs(key):
            record = read_record(folder.path).record
            if record is not None and proved(record, folder.run) and not is_alive(record.kernel):
                found.append((record, folder))
    return found


def stop_left_over(name: str | None = None, *, config: StartConfig | None = None) -> list[str]:
    """Stop runs whose kernel has gone: of that name, or of that very backend; returns a line for each."""
    from threading import Event

    from masuka_magic.endings import describe_stop
    from masuka_magic.process.stop import stop_tree

    key = None if config is None else folders.key_name(config.cwd, config.target, config.name)
    lines = []
    for record, folder in left_over(os.environ):
        if name not in {None, record.service} or key not in {None, folder.key_folder.name}:
            continue
        result = stop_tree(
            folder.run, record.process, kill_now=Event(), on_step=lambda _: None, reap=lambda: None
        )
        pid = record.process.pid
        lines.append(f"{record.service}, pid {pid}, left by an earlier kernel: {describe_stop(result)}")
    return lines
