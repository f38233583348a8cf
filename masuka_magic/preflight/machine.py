"""Check the machine that the backend will run on: disk, memory, processors, and what a process may have.

The limits are those of this process, which the backend inherits. Nearly everything here is a warning: only a
run folder in which nothing can be written prevents a start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.preflight import disk
from masuka_magic.preflight.cgroup import Limit, Limits, read_limits
from masuka_magic.preflight.here import this_machine
from masuka_magic.preflight.interpreter import distributions
from masuka_magic.preflight.items import Item, as_result
from masuka_magic.preflight.memory import Memory, judge_memory, read_memory, within
from masuka_magic.quantities import size

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig
    from masuka_magic.diagnosis.machine import Machine
    from masuka_magic.preflight.check import Check, CheckContext, CheckResult

#: Linux's own soft limit; below it a server with a database pool and open model files runs out.
LEAST_FILES = 1024
#: A server's thread pool is 40 (anyio), and numerical libraries start a thread for each processor.
LEAST_PROCESSES = 64


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits of this process (getrlimit(2)), soft and hard: open files, bytes of address space; None: no limit."""

    files: int | None = None
    files_hard: int | None = None
    space: int | None = None
    space_hard: int | None = None


def machine_checks(config: StartConfig) -> tuple[Check, ...]:
    """Return the checks of the machine that this configuration asks for."""
    if not config.gpu:
        return (MachineCheck(),)
    from masuka_magic.preflight.gpu import GpuCheck

    return (MachineCheck(), GpuCheck())


class MachineCheck:
    """Look once. `root` is the folder that stands for /, below which the kernel's files are read.

    `installed` names the distributions of an interpreter.
    """

    name = "machine"
    requires: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        installed: Callable[[str], Collection[str]] = distributions,
        resources: Callable[[], ResourceLimits] | None = None,
        machine: Callable[[], Machine] = this_machine,
    ) -> None:
        self._root = root
        self._installed = installed
        self._resources = own_resources if resources is None else resources
        self._machine = machine

    def run(self, context: CheckContext) -> CheckResult:
        config = context.config
        installed = frozenset(self._installed(config.python))
        places = disk.places_of(config.cwd, context.run_folder, context.environ, installed)
        disks, unseen = disk.look(places)
        items = disk.judge_disks(disks, config.max_log_bytes)
        if unseen:
            colab = self._machine().colab
            items += [disk.judge_unseen(one, colab=colab) for one in unseen]
        limits = read_limits(self._root)
        found = read_memory(self._root)
        memory = None if found is None else within(found, limits.memory)
        if memory is not None:
            items.append(judge_memory(memory))
        items += judge_limits(limits, self._resources(), _processors())
        return as_result(items, _healthy(memory, disks))


def _healthy(memory: Memory | None, disks: list[disk.FileSystem]) -> str:
    parts = []
    if memory is not None:
        parts.append(f"{size(memory.available)} of {size(memory.total)} memory free")
    told = [one for one in disks if one.total and not one.read_only]
    if told:
        least = min(told, key=lambda one: one.free)
        parts.append(f"{size(least.free)} disk" + (f" on {least.mount}" if len(told) > 1 else ""))
    return ", ".join(parts) or "nothing of it can be seen"


def judge_limits(limits: Limits, resources: ResourceLimits, processors: int) -> list[Item]:
    """Judge what a process may have, but for memory; what is not limited is not mentioned."""
    cores = "1 core" if processors == 1 else f"{processors} cores"
    limited = limits.cpus is not None and limits.cpus < processors
    items = [
        Item("cpu", "pass", f"{limits.cpus:.2g} of {cores} (the container's limit)" if limited else cores)
    ]
    if limits.processes is not None:
        items.append(_judge_processes(limits.processes))
    if resources.files is not None:
        items.append(_judge_files(resources.files, resources.files_hard))
    if resources.space is not None:
        items.append(_judge_space(resources.space, resources.space_hard))
    return items


def _judge_processes(limit: Limit) -> Item:
    text = f"{limit.used} of {limit.limit} processes and threads"
    if limit.left >= LEAST_PROCESSES:
        return Item("processes", "pass", text)
    title = f"{text} are in use: the container allows no more than {limit.left} further ones"
    notes = (f"the limit is set in {limit.source}", "a server starts about 40 threads for its own pool")
    remedy = Remedy(
        "see which process has the most threads",
        "ps -eo pid,nlwp,comm --sort=-nlwp | head -15",
        safe=True,
        confidence=0.6,
    )
    finding = Finding(
        "too-many-processes", title, None, (EvidenceLine("machine", None, text),), notes, (remedy,)
    )
    return Item("processes", "warn", title, finding)


def _judge_files(soft: int, hard: int | None) -> Item:
    if soft >= LEAST_FILES:
        return Item("open files", "pass", f"{soft} open files allowed")
    title = f"a process may have no more than {soft} files and connections open at once"
    remedies: tuple[Remedy, ...] = ()
    if hard is None or hard > soft:
        most = LEAST_FILES * 4 if hard is None else min(hard, LEAST_FILES * 4)
        top = "resource.RLIM_INFINITY" if hard is None else str(hard)
        command = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {top}))"
        remedies = (Remedy("raise the limit in this kernel, which the backend inherits", command, "python"),)
    evidence = (EvidenceLine("machine", None, f"RLIMIT_NOFILE {soft}, usually {LEAST_FILES} or more"),)
    return Item(
        "open files", "warn", title, Finding("too-many-files", title, None, evidence, remedies=remedies)
    )


def _judge_space(soft: int, hard: int | None) -> Item:
    title = f"the address space of a process is limited to {size(soft)}"
    notes = (
        "an allocation beyond it is a MemoryError, whatever memory is free",
        "CUDA reserves far more address space than it uses, and cannot start under a limit",
    )
    remedies: tuple[Remedy, ...] = ()
    if hard is None or hard > soft:
        top = "resource.RLIM_INFINITY" if hard is None else str(hard)
        command = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({top}, {top}))"
        remedies = (Remedy("raise the limit in this kernel, which the backend inherits", command, "python"),)
    evidence = (EvidenceLine("machine", None, f"RLIMIT_AS {soft} bytes"),)
    return Item(
        "address space", "warn", title, Finding("memory-python", title, None, evidence, notes, remedies)
    )


def own_resources() -> ResourceLimits:
    """Read the limits of this process."""
    import resource

    pairs = (resource.getrlimit(which) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS))
    both = [None if value == resource.RLIM_INFINITY else value for pair in pairs for value in pair]
    return ResourceLimits(*both)


def _processors() -> int:
    """Count the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
