"""Tell one process from every other that ever had its number.

A pid is a number that the kernel gives out again; pid, start time and boot id together name one process.
This room reads /proc (psutil where there is none) and knows no record, no run folder and no signal.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

RUN_VARIABLE = "MASUKA_RUN"

_PROC = Path("/proc")
# What a process that vanished, or that is not for us to read, answers with. Anything else (no descriptor
# left, a broken /proc) is raised: taken for "gone", it would let a stop claim success.
_UNREADABLE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for as long as this machine has been up.

    `start` is in clock ticks since boot (on a system without /proc: microseconds since 1970).
    """

    pid: int
    start: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What one look at a process shows. `dead` is true of a zombie: it has a pid and runs nothing.

    `stopped` is true of one that a signal has stopped. `cpu_s` is its own and its reaped children's time.
    """

    pid: int
    parent: int
    session: int
    start: int
    dead: bool
    stopped: bool
    cpu_s: float
    rss_bytes: int


@functools.cache
def has_proc() -> bool:
    """Say whether this system has Linux's /proc."""
    return (_PROC / "self" / "stat").exists()


@functools.cache
def boot_id() -> str:
    """Name the boot that this process lives in.

    Without /proc it is the boot time, which some systems move when the clock is set: kept for the life of
    this process, so that a clock that is set refuses, at worst, the adoption by a later one.
    """
    if has_proc():
        return (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text("ascii").strip()
    import psutil

    return f"boot-{int(psutil.boot_time())}"


def look(pid: int) -> ProcessFacts | None:
    """Read what is known of a process; None when it is gone (or, off Linux, not for us to see)."""
    if not has_proc():
        return _look_with_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:  # noqa: PTH123 - hundreds a look: no Path each
            return parse_stat(stat.read(4096))
    except _UNREADABLE:
        return None


@functools.cache
def _ticks_and_page() -> tuple[int, int]:
    return os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def parse_stat(line: bytes) -> ProcessFacts | None:
    """Read one line of /proc/PID/stat (proc_pid_stat(5)); None for an empty one.

    The command's name may hold blanks and brackets: the fields begin behind the last closing bracket.
    """
    opening, closing = line.find(b"("), line.rfind(b")")
    if opening < 0 or closing < 0:
        return None
    fields = line[closing + 1 :].split()
    # fields[0] is field 3 of the manual page. A process whose first thread has ended looks like a zombie, but
    # has more than one thread.
    state, threads = fields[0], int(fields[17])
    ticks, page = _ticks_and_page()
    return ProcessFacts(
        pid=int(line[:opening]),
        parent=int(fields[1]),
        session=int(fields[3]),
        start=int(fields[19]),
        dead=state in b"ZXx" and threads <= 1,
        stopped=state == b"T",
        cpu_s=sum(int(field) for field in fields[11:15]) / ticks,
        rss_bytes=int(fields[21]) * page,
    )


def _look_with_psutil(pid: int) -> ProcessFacts | None:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            status, times = process.status(), process.cpu_times()
            return ProcessFacts(
                pid=pid,
                parent=process.ppid(),
                session=os.getsid(pid),
                start=round(process.create_time() * 1_000_000),
                dead=status in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD},
                stopped=status == psutil.STATUS_STOPPED,
                cpu_s=times.user + times.system,
                rss_bytes=process.memory_info().rss,
            )
    except psutil.ZombieProcess:
        # macOS tells nothing of a zombie, not even its start: there is nothing left to signal.
        return None
    except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError):
        return None


def identify(pid: int) -> ProcessIdentity | None:
    """Name the process that has this pid now; None when there is none. A zombie still has its identity."""
    facts = look(pid)
    return None if facts is None else ProcessIdentity(pid, facts.start, boot_id())


def look_again(identity: ProcessIdentity) -> ProcessFacts | None:
    """Read what is known of exactly this process; None when it is gone or its pid belongs to another."""
    facts = look(identity.pid)
    if facts is None or facts.start != identity.start or identity.boot_id != boot_id():
        return None
    return facts


def exists(identity: ProcessIdentity) -> bool:
    """Say whether this process still holds its pid, be it as a zombie."""
    return look_again(identity) is not None


def is_alive(identity: ProcessIdentity) -> bool:
    """Say whether this very process still runs; a zombie does not."""
    facts = look_again(identity)
    return facts is not None and not facts.dead


def run_of(pid: int) -> str | None:
    """Read the run value in a process's environment; "" when it has none, None when that cannot be told.

    It cannot be told of another user's process, of a zombie, and of one that wrote its title over its
    environment (setproctitle, PostgreSQL).
    """
    if has_proc():
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as environ:  # noqa: PTH123 - as in look
                block = environ.readall()
        except _UNREADABLE:
            return None
        if b"=" not in block:
            return None
        prefix = RUN_VARIABLE.encode() + b"="
        found = next((entry for entry in block.split(b"\0") if entry.startswith(prefix)), prefix)
        return os.fsdecode(found[len(prefix) :])
    import psutil

    try:
        return str(psutil.Process(pid).environ().get(RUN_VARIABLE, ""))
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None


def carries_run(pid: int, run_value: str) -> bool | None:
    """Say whether a process was started with exactly this run value; None when that cannot be told."""
    found = run_of(pid)
    return None if found is None else found == run_value != ""


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """Open a descriptor that stays with exactly this process; the caller closes it.

    None when the process is gone, or when the system has no pidfd: ask `is_alive` to tell the two apart.
    The identity is read after the opening: from then on the pid cannot have been given to another unnoticed.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return None
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        # ESRCH: gone. ENOSYS, EPERM: not in this kernel or container. EMFILE: a signal needs no descriptor.
        return None
    if exists(identity):
        return descriptor
    os.close(descriptor)
    return None
