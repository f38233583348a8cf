"""Who listens on a port, and what that process is.

Only looks: nothing here signals a process or decides whether it is ours. On Linux the kernel's own tables are
read (`/proc/net/tcp`, `/proc/PID/fd`), which takes about a millisecond where psutil takes twenty; elsewhere
psutil is asked. Both see the network namespace of this process alone, and other users' files only as root.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import psutil

T = TypeVar("T")
Family = Literal["IPv4", "IPv6"]

_PROC = Path("/proc")
_TABLES: tuple[tuple[str, Family], ...] = (("tcp", "IPv4"), ("tcp6", "IPv6"))
_LISTEN = "0A"  # TCP_LISTEN in the kernel's include/net/tcp_states.h


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket. `pid` is the oldest process that holds it, None where that cannot be seen.

    `inode` is None where the socket was found by psutil.
    """

    address: str
    family: Family
    pid: int | None
    inode: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessDescription:
    """What a process is, as far as it can be seen; `since` is seconds since the epoch."""

    pid: int
    command: str | None = None
    user: str | None = None
    since: float | None = None


def listeners(port: int) -> list[Listener]:
    """Every socket that listens on the TCP port, whosever it is."""
    if not _has_tables():
        return _listeners_by_psutil(port)
    found = [(family, *row) for name, family in _TABLES for row in listening_rows(_read_table(name), port)]
    holders = _holders({inode for _, _, inode in found}) if found else {}
    return [Listener(address, family, holders.get(inode), inode) for family, address, inode in found]


def owners_among(port: int, pids: Iterable[int]) -> int | None:
    """Return the first of the given processes that listens on the port; looks at no other process."""
    if not _has_tables():
        return next((pid for pid in pids if _listens_by_psutil(pid, port)), None)
    wanted = list(pids)
    # Each table costs 2 ms, whatever stands in it: the second is read only where the first does not tell.
    for name, _ in _TABLES:
        inodes = {inode for _, inode in listening_rows(_read_table(name), port)}
        owner = next((pid for pid in wanted if inodes and not inodes.isdisjoint(_socket_inodes(pid))), None)
        if owner is not None:
            return owner
    return None


def describe_process(pid: int) -> ProcessDescription:
    """Describe a process by what may be seen of it; what may not, or is gone, stays None."""
    import psutil

    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return ProcessDescription(pid)
    argv = _seen(process.cmdline)
    command = " ".join(argv) if argv else _seen(process.name)
    return ProcessDescription(pid, command, _seen(process.username), _seen(process.create_time))


def listening_rows(table: str, port: int) -> Iterator[tuple[str, int]]:
    """Yield address and inode of each listening row with this port in the text of `/proc/net/tcp` or `tcp6`.

    The columns are those of the kernel's Documentation/networking/proc_net_tcp.rst.
    """
    suffix = f":{port:04X}"
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) > 9 and columns[3] == _LISTEN and columns[1].endswith(suffix):  # noqa: PLR2004 - the inode
            yield _address(columns[1].partition(":")[0]), int(columns[9])


def _address(digits: str) -> str:
    """Turn the kernel's hexadecimal words, each in the machine's byte order, into an address."""
    words = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def _has_tables() -> bool:
    return (_PROC / "net" / "tcp").exists()


def _read_table(name: str) -> str:
    try:
        return (_PROC / "net" / name).read_text("ascii")
    except OSError:  # A kernel without IPv6 has no tcp6.
        return ""


def _socket_inodes(pid: int) -> Iterator[int]:
    """Yield the inodes of the sockets that a process holds; none where it is gone or not to be seen."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - a Path per descriptor would cost more than the reading
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - as above
        except OSError:  # Closed since the listing.
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _holders(inodes: set[int]) -> dict[int, int]:
    """Find the oldest process that holds each socket: forked workers share the one of their parent."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir(_PROC):  # noqa: PTH208 - as in _socket_inodes
        if entry.isdigit():
            for inode in inodes.intersection(_socket_inodes(int(entry))):
                found.setdefault(inode, []).append(int(entry))
    return {inode: min(pids, key=_start_ticks) for inode, pids in found.items()}


def _start_ticks(pid: int) -> tuple[float, int]:
    """When the process began, in the kernel's clock ticks (field 22 of proc(5)); unknown sorts last."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return float("inf"), pid
    return float(stat.rpartition(")")[2].split()[19]), pid


def _listeners_by_psutil(port: int) -> list[Listener]:
    import psutil

    try:
        rows: list[tuple[Any, int | None]] = [(row, row.pid) for row in psutil.net_connections(kind="tcp")]
    except psutil.AccessDenied:  # macOS shows all sockets to root alone: then those of our own processes.
        rows = [(row, process.pid) for process in psutil.process_iter() for row in _connections(process)]
    return [
        Listener(row.laddr.ip, "IPv6" if row.family == socket.AF_INET6 else "IPv4", pid)
        for row, pid in rows
        if _listens(row, port)
    ]


def _listens_by_psutil(pid: int, port: int) -> bool:
    import psutil

    try:
        rows = _connections(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
    return any(_listens(row, port) for row in rows)


def _listens(row: Any, port: int) -> bool:  # noqa: ANN401 - psutil's rows carry their addresses without a type
    import psutil

    return bool(row.status == psutil.CONN_LISTEN and row.laddr.port == port)


def _connections(process: psutil.Process) -> list[Any]:
    """Ask for a process's TCP sockets under the name that this psutil has (`connections` before 6.0)."""
    import psutil

    ask = getattr(process, "net_connections", None) or process.connections
    try:
        return list(ask(kind="tcp"))
    except psutil.Error:
        return []


def _seen(ask: Callable[[], T]) -> T | None:
    import psutil

    try:
        return ask() or None
    except (psutil.Error, OSError, KeyError):  # KeyError: a user id without a name.
        return None
