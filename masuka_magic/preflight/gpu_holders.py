"""Who has the GPU's memory: the processes that nvidia-smi counts, and those of ours that have it open.

In a container nvidia-smi gives numbers of the host, so a number alone proves nothing: a process is taken for
a holder that we know only when it has the driver's memory device open. Nothing is signalled here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import Remedy
from masuka_magic.quantities import size

if TYPE_CHECKING:
    from masuka_magic.preflight.nvidia import App

# A CUDA context opens the first, which nvidia-smi and a display server do not; the second is WSL's.
_MEMORY_DEVICES = ("/dev/nvidia-uvm", "/dev/dxg")
_RUN = re.compile(r".*/([a-z0-9][a-z0-9-]*)-[0-9a-f]{16}/[^/]+", re.DOTALL)
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Holder:
    """A process on the GPU. `used` in bytes; `pid` None: processes that cannot be told apart from here.

    `backend` is the name of the backend, as its run folder spells it, when it is one that masuka_magic started.
    """

    pid: int | None
    name: str
    used: int | None = None
    backend: str | None = None
    this_kernel: bool = False


def find_holders(apps: Sequence[App], root: Path, run_of: Callable[[int], str | None]) -> tuple[Holder, ...]:
    """Put together what nvidia-smi counts and what /proc shows, the largest first."""
    counted = {app.pid: app for app in apps}
    found = []
    for pid in _with_memory_device(root):
        app = counted.pop(pid, None)
        run = run_of(pid)
        backend = _RUN.fullmatch(run) if run else None
        found.append(
            Holder(
                pid,
                _plain((app and app.name) or _command(root, pid) or "a process"),
                None if app is None else app.used,
                None if backend is None else backend[1],
                this_kernel=pid == os.getpid(),
            )
        )
    named = [app for app in counted.values() if app.name is not None]
    found += [Holder(app.pid, _plain(app.name or ""), app.used) for app in named]
    unnamed = [app for app in counted.values() if app.name is None]
    if unnamed and not found:  # Beside processes of ours these are, in a container, the same ones again.
        used = sum(app.used or 0 for app in unnamed) or None
        found.append(Holder(None, "processes that cannot be seen from here", used))
    return tuple(sorted(found, key=lambda holder: -(holder.used or 0)))[:_MOST_SHOWN]


def describe(holder: Holder) -> str:
    """Say in one line who it is and what it holds."""
    if holder.this_kernel:
        who = "this kernel itself"
    elif holder.backend is not None:
        who = f"pid {holder.pid}, the backend {holder.backend} of an earlier start,"
    elif holder.pid is None:
        who = holder.name
    else:
        who = f"pid {holder.pid} ({holder.name})"
    verb = "hold" if holder.pid is None else "holds"
    return f"{who} {verb} {size(holder.used)}" if holder.used is not None else f"{who} has the GPU open"


def remedies_for(holders: Sequence[Holder]) -> tuple[Remedy, ...]:
    """Offer to end what is ours; of others' processes nothing is proposed."""
    remedies = [
        Remedy("stop that backend", f"%masuka_stop {holder.backend}", "python", safe=True)
        for holder in holders
        if holder.backend is not None
    ][:1]
    if any(holder.this_kernel for holder in holders):
        command = "import gc, torch; gc.collect(); torch.cuda.empty_cache()"
        text = "free what this notebook itself took, after `del` of the models; else restart the kernel"
        remedies.append(Remedy(text, command, "python", confidence=0.7))
    return tuple(remedies)


def _with_memory_device(root: Path) -> Iterator[int]:
    """Yield the processes that have it open, as far as they may be seen."""
    try:
        entries = os.listdir(root / "proc")  # noqa: PTH208 - a Path per entry would cost more than the reading
    except OSError:
        return
    for entry in entries:
        if entry.isdigit() and any(target in _MEMORY_DEVICES for target in _open_files(root, entry)):
            yield int(entry)


def _open_files(root: Path, pid: str) -> Iterator[str]:
    folder = f"{root}/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - as above
    except OSError:  # Gone, or another user's.
        return
    for name in names:
        try:
            yield os.readlink(f"{folder}/{name}")  # noqa: PTH115 - as above
        except OSError:  # Closed since the listing.
            continue


def _command(root: Path, pid: int) -> str | None:
    try:
        return (root / "proc" / str(pid) / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return None


def _plain(text: str) -> str:
    """Write a foreign name on one line: the program, without its folders, cut to fit."""
    return re.sub(r"[^\x20-\x7e]", "", text).strip().rpartition("/")[2][:40]
