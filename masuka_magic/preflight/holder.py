"""Say who holds a port: a backend of ours, by its name and who started it, or any other process.

A process is ours by the run value in its environment and the record in that run's folder; both are read with
mistrust, and nothing is signalled. Commands are foreign text: one line, without secrets, cut to fit.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import Remedy
from masuka_magic.process.identity import is_alive, run_of
from masuka_magic.process.listeners import describe_process
from masuka_magic.process.record import read_record

if TYPE_CHECKING:
    from masuka_magic.process.listeners import Listener, ProcessDescription
    from masuka_magic.process.record import Record

_COMMAND_WIDTH = 80
_BOOTSTRAP = "/process/bootstrap.py"
_TARGETS = ("app", "script", "module", "command")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a port, in words that end "port 8000 is held by", what else is known, and how it may be ended."""

    words: str
    notes: tuple[str, ...]
    remedies: tuple[Remedy, ...] = ()


def describe_holder(pid: int, secrets: frozenset[str]) -> Holder:
    """Describe the process that listens; what cannot be seen of it is left out."""
    run = run_of(pid)
    record = _record_of(run) if run else None
    if record is not None:
        return _ours(record, pid, secrets)
    owner = describe_process(pid)
    notes = [_whose(owner)]
    if pid == os.getpid():
        notes.append("that is this kernel itself")
    elif run:
        notes.append("it was started by masuka_magic, but its record cannot be read here")
    return Holder(f"pid {pid}: {shortened(owner.command or 'an unknown command', secrets)}", tuple(notes))


def brief(listener: Listener, secrets: frozenset[str]) -> str:
    """Name who listens in a few words."""
    if listener.pid is None:
        return "another process"
    return f"pid {listener.pid} ({shortened(describe_process(listener.pid).command or 'unknown', secrets)})"


def _record_of(run: str) -> Record | None:
    """Read the record of the run that a process says it belongs to; None for one that does not prove it."""
    folder = Path(run)
    if not folder.is_absolute():
        return None
    record = read_record(folder).record
    return record if record is not None and record.run == run else None


def _ours(record: Record, pid: int, secrets: frozenset[str]) -> Holder:
    here = record.kernel.pid == os.getpid() and is_alive(record.kernel)
    abroad = not here and is_alive(record.kernel)
    kernel = "this kernel" if here else "another kernel" if abroad else "an earlier kernel, which has gone"
    name, leader = record.service, record.process.pid
    target = next((str(record.config[key]) for key in _TARGETS if key in record.config), "")
    target = f" ({shortened(target, secrets)})" if target else ""
    words = f'the masuka backend "{shortened(name, secrets)}"{target}, pid {leader}, started by {kernel}'
    notes = [f"{_whose(describe_process(pid))}, in {record.cwd}"]
    if pid != leader:
        notes.append(f"pid {pid} of it listens")
    stop = Remedy("stop it", f"%masuka_stop {name}", "cell", safe=True)
    if abroad:
        notes.append(f"that kernel, pid {record.kernel.pid}, still runs: %masuka_stop {name} belongs there")
    return Holder(words, tuple(notes), () if abroad else (stop,))


def _whose(owner: ProcessDescription) -> str:
    parts = []
    if owner.user:
        parts.append(f"started by {owner.user}")
    if owner.since:
        then, today = time.localtime(owner.since), time.localtime()
        form = "%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M"
        parts.append(f"running since {time.strftime(form, then)}")
    return ", ".join(parts) or "its user and age cannot be seen"


def shortened(command: str, secrets: frozenset[str]) -> str:
    """Write a foreign command on one line: its program by name alone, our bootstrap left out, cut to fit."""
    for secret in sorted(secrets, key=len, reverse=True):
        command = command.replace(secret, "***")
    command = "".join(char if char.isprintable() else " " for char in command).strip()
    words = command.split(" ")
    if len(words) > 1 and words[0].startswith("/"):
        words[0] = Path(words[0]).name or words[0]
    if len(words) > 1 and words[1].endswith(_BOOTSTRAP):
        del words[1]
        if words[1:2] == ["--app"]:  # The server's own arguments name it again.
            del words[1 : 4 if words[3:4] == ["--factory"] else 3]
    command = " ".join(words)
    return command if len(command) <= _COMMAND_WIDTH else command[: _COMMAND_WIDTH - 1] + "…"
