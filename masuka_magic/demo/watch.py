"""Clean up after an embedded PostgreSQL: waits until its owner is gone, stops the server, removes its folder.

Run by path in a Python of its own, `python -I -S watch.py FOLDER OWNER`, with standard library only. The
owner's end shows in two ways: its end of the pipe on stdin closes, and (Linux) its pidfd becomes readable;
the second also holds when the owner has forked and a child keeps the pipe open. Nothing but the server whose
data lie in FOLDER is ever signalled.
"""

import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

PROC = Path("/proc")
_FAST_SHUTDOWN_S = 10.0
_LOOK_GAP_S = 0.02


def wait_for_owner(owner: int) -> None:
    """Return when the pipe on stdin is closed or the owner has ended."""
    waiting = select.poll()
    waiting.register(0, select.POLLIN | select.POLLHUP)
    if hasattr(os, "pidfd_open"):
        try:
            waiting.register(os.pidfd_open(owner), select.POLLIN)
        except ProcessLookupError:
            return
    if os.getppid() != owner:
        return
    waiting.poll()


def server_pid(data: Path) -> int | None:
    """Read the server's pid from the file that it removes as its last act; None where it is not running."""
    try:
        pid = int((data / "postmaster.pid").read_text("ascii").splitlines()[0])
        # The server works in its data folder: the number in a stale file cannot point at a stranger.
        return (
            pid
            if not (PROC / "self").exists() or (PROC / str(pid) / "cwd").readlink() == data.resolve()
            else None
        )
    except (OSError, ValueError, IndexError):
        return None


def stop_server(data: Path) -> None:
    """Ask for a fast shutdown; what has not gone after ten seconds is killed."""
    for number, patience_s in ((signal.SIGINT, _FAST_SHUTDOWN_S), (signal.SIGKILL, _FAST_SHUTDOWN_S)):
        pid = server_pid(data)
        if pid is None:
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while server_pid(data) is not None and time.monotonic() < deadline:
            time.sleep(_LOOK_GAP_S)


if __name__ == "__main__":
    wait_for_owner(int(sys.argv[2]))
    stop_server(Path(sys.argv[1], "data"))
    shutil.rmtree(sys.argv[1], ignore_errors=True)
