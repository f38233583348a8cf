"""How much memory the backend will find: the machine's, and the container's where that is less.

Only `read_memory` looks at the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.preflight.items import Item
from masuka_magic.quantities import size

if TYPE_CHECKING:
    from masuka_magic.preflight.cgroup import Limit

#: A backend that imports torch and diffusers takes about this much before it has loaded a model.
LOW_BYTES = 1_000_000_000
#: Of a larger machine: models are loaded in proportion to it.
LOW_SHARE = 0.1
#: From here on the share says nothing: 10 % of a large server are plenty.
ENOUGH_BYTES = 4_000_000_000
#: A machine smaller than twice `LOW_BYTES` is not low for being small.
SMALL_SHARE = 0.5

_KIBI = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: in all, and what can be had without swapping. `source` is the file of a container's limit."""

    total: int
    available: int
    swap_total: int = 0
    swap_free: int = 0
    source: str | None = None


def parse_meminfo(text: str) -> Memory | None:
    """Read /proc/meminfo (proc_meminfo(5)); None where it does not say. Its kB are 1,024 bytes."""
    rows = (line.split() for line in text.splitlines())
    found = {row[0]: int(row[1]) * _KIBI for row in rows if len(row) > 1 and row[1].isdecimal()}
    total = found.get("MemTotal:")
    if not total:
        return None
    # Kernels before 3.14, and some that imitate Linux, have no MemAvailable.
    freed = sum(found.get(name, 0) for name in ("MemFree:", "Buffers:", "Cached:"))
    available = min(total, found.get("MemAvailable:", freed))
    return Memory(total, available, found.get("SwapTotal:", 0), found.get("SwapFree:", 0))


def within(memory: Memory, limit: Limit | None) -> Memory:
    """Cut what the machine has down to what a group's limit leaves; the swap is then not ours to count on."""
    if limit is None or limit.limit >= memory.total:
        return memory
    left = min(memory.available, limit.left)
    return Memory(limit.limit, left, source=limit.source)


def low_below(total: int) -> int:
    """Return the bytes below which memory is called low."""
    return round(min(max(LOW_BYTES, total * LOW_SHARE), ENOUGH_BYTES, total * SMALL_SHARE))


def judge_memory(memory: Memory) -> Item:
    """Say how much there is, and warn where it is little: memory can be freed, so it never fails."""
    whose = "" if memory.source is None else " of the container's limit"
    text = f"{size(memory.available)} of {size(memory.total)} free{whose}"
    if memory.swap_total:
        text += f", {size(memory.swap_free)} of {size(memory.swap_total)} swap"
    if memory.available >= low_below(memory.total):
        return Item("memory", "pass", text)
    title = f"only {size(memory.available)} of {size(memory.total)} memory is free{whose}"
    notes = ["when it runs out, the kernel kills the largest process without a message"]
    if memory.source is not None:
        notes.append(f"the limit is set in {memory.source}")
    remedy = Remedy(
        "see what takes it; other notebooks' kernels hold theirs until they are shut down",
        "ps -eo pid,rss,comm --sort=-rss | head -15",
        safe=True,
        confidence=0.6,
    )
    evidence = (EvidenceLine("machine", None, text),)
    return Item(
        "memory", "warn", title, Finding("memory-low", title, None, evidence, tuple(notes), (remedy,))
    )


def read_memory(root: Path = Path("/")) -> Memory | None:
    """Look at the machine's memory, without any limit; None where it cannot be seen."""
    try:
        text = (root / "proc/meminfo").read_text("ascii", "replace")
    except OSError:
        return _by_psutil() if root == Path("/") else None
    return parse_meminfo(text)


def _by_psutil() -> Memory:
    """Ask psutil, where there is no /proc: macOS."""
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Memory(memory.total, memory.available, swap.total, swap.free)
