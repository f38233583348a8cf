"""How a run ended, in words, and the findings that are about our own steps rather than about the backend.

Pure: errors and results come in as values.
"""

from __future__ import annotations

import errno
import traceback
from typing import TYPE_CHECKING

from masuka_magic.config.model import ConfigError
from masuka_magic.diagnosis.ending_rules import signal_name
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.process.folder import FolderError
from masuka_magic.process.spawn import SpawnError

if TYPE_CHECKING:
    from masuka_magic.process.stop import StopResult

_SPAWN_CODES = {
    "command-not-found": "missing-command",
    "interpreter-missing": "wrong-interpreter",
    "cwd-missing": "missing-path",
    "cwd-not-usable": "permission",
    "not-executable": "permission",
    "log-not-writable": "permission",
}


def describe_exit(returncode: int | None) -> str:
    """Say how the process ended; signals are named."""
    if returncode is None:
        return "ended, with an exit code that is unknown here"
    name = signal_name(returncode) if returncode < 0 else None
    return f"exited with code {returncode}" if name is None else f"was ended by {name}"


def describe_stop(result: StopResult | None) -> str:
    """Say what stopping has come to: what needed KILL, and what could not be stopped."""
    if result is None:
        return "nothing was started"
    words = [f"stopped in {result.seconds:.1f} s" if result.stopped else "not all of it could be stopped"]
    if result.killed:
        words.append(f"pid {', '.join(map(str, result.killed))} had to be killed")
    words += [f"pid {pid} is left: {why}" for pid, why in result.left]
    return "; ".join(words)


def not_spawned(error: Exception) -> Finding:
    """Make the finding of a program that the system did not start, or an argument that cannot be."""
    if isinstance(error, SpawnError):
        return Finding(_SPAWN_CODES.get(error.reason, "unknown"), str(error), error.path)
    if isinstance(error, ConfigError):
        return Finding("config-args", str(error))
    return Finding("unknown", f"the backend could not be started: {error}")


def no_folder(error: Exception) -> Finding:
    """Make the finding of a run that has no folder to write its logs to."""
    if isinstance(error, FolderError):
        remedy = Remedy("put the folder right", error.command)
        return Finding("permission", f"{error.path} {error.reason}", str(error.path), remedies=(remedy,))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Finding("disk-full", f"no folder could be made for the logs: {error}", error.filename)
    return Finding("unknown", f"no folder could be made for the logs: {error}")


def own_fault(error: Exception) -> Finding:
    """Make the finding of an error of ours: it is said whose it is, and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    evidence = tuple(EvidenceLine(frame.filename, frame.lineno, frame.line or "") for frame in frames)
    title = f"masuka_magic itself failed: {type(error).__name__}: {error}"
    notes = ("the backend was stopped; its logs are kept",)
    return Finding("unknown", title, "masuka_magic", evidence, notes)
