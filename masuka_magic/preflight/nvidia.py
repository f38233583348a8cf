"""What `nvidia-smi` says, as values; the only edge is `ask`, which runs it.

NVIDIA does not promise that the output stays as it is (nvidia-smi(1)), so everything is read with mistrust: a
field may be "[N/A]" or "[Insufficient Permissions]", a whole answer an error on stdout.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import threading

FIELDS = (
    "index",
    "name",
    "driver_version",
    "memory.total",
    "memory.used",
    "memory.free",
    "compute_cap",
    "mig.mode.current",
)
APP_FIELDS = ("pid", "process_name", "used_memory")

Trouble = Literal["no-device", "no-driver", "mismatch", "unknown"]

#: How late an interrupt may be noticed.
_CANCEL_GAP_S = 0.05
#: A killed process ends at once, unless it hangs in the driver: then it is left to the kernel.
_KILL_S = 0.2
_MEBI = 1024 * 1024
_REFUSED_FIELD = re.compile(r'Field "([\w.]+)" is not a valid field to query')


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; sizes in bytes, None for what is not told. `mig`: it is divided into instances."""

    index: int
    name: str
    driver: str | None = None
    total: int | None = None
    used: int | None = None
    free: int | None = None
    capability: str | None = None
    mig: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """A process that computes on a GPU. In a container `pid` is the host's, and `name` is then not known."""

    pid: int
    name: str | None
    used: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """How one run of the program ended: its output, stderr with it. `returncode` None: it was cut off."""

    returncode: int | None
    text: str

    @property
    def first_lines(self) -> tuple[str, ...]:
        lines = (
            "".join(char for char in line if char.isprintable()).strip() for line in self.text.splitlines()
        )
        return tuple(line[:200] for line in lines if line)[:3]


def query_gpus(program: str, fields: Sequence[str] = FIELDS) -> list[str]:
    """Write the command that asks for the GPUs."""
    return [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]


def query_apps(program: str) -> list[str]:
    """Write the command that asks for the processes on all GPUs."""
    return [program, f"--query-compute-apps={','.join(APP_FIELDS)}", "--format=csv,noheader,nounits"]


def refused_field(text: str) -> str | None:
    """Return the field that this version does not know: driver 470 has no compute_cap."""
    found = _REFUSED_FIELD.search(text)
    return None if found is None else found[1]


def parse_gpus(text: str, fields: Sequence[str] = FIELDS) -> tuple[Gpu, ...]:
    """Read the rows of GPUs; what is not a row of these fields is passed over."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        row = dict(zip(fields, cells, strict=False))
        if len(cells) != len(fields) or not row["index"].isdecimal():
            continue
        gpus.append(
            Gpu(
                int(row["index"]),
                row["name"],
                _told(row.get("driver_version")),
                _bytes(row.get("memory.total")),
                _bytes(row.get("memory.used")),
                _bytes(row.get("memory.free")),
                _told(row.get("compute_cap")),
                mig=row.get("mig.mode.current") == "Enabled",
            )
        )
    return tuple(gpus)


def parse_apps(text: str) -> tuple[App, ...]:
    """Read the rows of processes: a name may hold commas, the other two cells may not."""
    apps = []
    for line in text.splitlines():
        pid, _, rest = line.partition(",")
        name, comma, used = rest.rpartition(",")
        if comma and pid.strip().isdecimal():
            apps.append(App(int(pid), _told(name), _bytes(used)))
    return tuple(apps)


def _told(cell: str | None) -> str | None:
    """Return what a cell says; None for "[N/A]", "[Not Found]", "[Insufficient Permissions]" and the like."""
    cell = (cell or "").strip()
    return None if not cell or cell.startswith("[") or cell in ("N/A", "-") else cell


def _bytes(cell: str | None) -> int | None:
    """Read a size, which is in MiB."""
    told = _told(cell)
    return int(told) * _MEBI if told is not None and told.isdecimal() else None


def trouble_in(text: str) -> Trouble:
    """Name what keeps nvidia-smi from answering, by its own words.

    The words are in the program's source only; they are known from reports, which the tests name.
    """
    if "Driver/library version mismatch" in text:
        return "mismatch"
    if "couldn't communicate with the NVIDIA driver" in text:
        return "no-driver"
    if "No devices were found" in text:
        return "no-device"
    return "unknown"


def library_version(text: str) -> str | None:
    """Return the version of NVML that a mismatch tells."""
    found = re.search(r"NVML library version: ([\d.]+)", text)
    return None if found is None else found[1]


def visible(value: str | None, count: int) -> tuple[int, ...] | None:
    """Read CUDA_VISIBLE_DEVICES: the places CUDA can see, in its order; () for none; None where not limited.

    CUDA takes everything up to the first entry that is not valid (CUDA C Programming Guide, "CUDA Environment
    Variables"). Entries that name a GPU or an instance by its UUID are not followed up: None.
    """
    if value is None:
        return None
    seen: list[int] = []
    for entry in (part.strip() for part in value.split(",")):
        if entry.upper().startswith(("GPU-", "MIG-")):
            return None
        if not entry.isdecimal() or int(entry) >= count:
            break
        seen.append(int(entry))
    return tuple(seen)


def ask(
    command: Sequence[str], env: Mapping[str, str], deadline: float, cancelled: threading.Event
) -> Answer:
    """Run the program until it ends, the deadline (of the monotonic clock) or an interrupt. Raises OSError.

    It may hang in the driver, where not even KILL ends it: then it is left alone.
    """
    process = subprocess.Popen(
        command,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    while not cancelled.is_set() and (left_s := deadline - time.monotonic()) > 0:
        try:
            output, _ = process.communicate(timeout=min(_CANCEL_GAP_S, left_s))
        except subprocess.TimeoutExpired:
            continue
        return Answer(process.returncode, output.decode("utf-8", "replace"))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # Its own session, and not reaped yet: the number is its own.
    try:
        output, _ = process.communicate(timeout=_KILL_S)
    except subprocess.TimeoutExpired:
        if process.stdout is not None:
            process.stdout.close()
        output = b""
    return Answer(None, output.decode("utf-8", "replace"))
