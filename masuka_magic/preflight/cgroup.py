"""What the container, or any control group above us, allows: memory, processes, processor time.

Both versions are read, also where they are mounted side by side. A limit holds for everything below it, so
every group from our own up to the mount counts, and the tightest one decides. Only `read_limits` looks at
files. The files are those of the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Version 1 writes "no limit" as the largest multiple of a page below 2**63.
_NO_LIMIT = 1 << 60
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted hierarchy: the group `root` is seen at `point`; `controllers` is empty for version 2."""

    point: str
    root: str
    version: int
    controllers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit and what is used of it, in bytes or in processes; `source` is the file that sets it."""

    limit: int
    used: int
    source: str

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class Limits:
    """The tightest limits on this process; None where there is none. `cpus` counts processors, such as 1.5."""

    memory: Limit | None = None
    processes: Limit | None = None
    cpus: float | None = None


def parse_mounts(mountinfo: str) -> tuple[Mount, ...]:
    """Find the hierarchies in the text of /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):  # noqa: PLR2004 - the columns
            continue
        root, point = (_OCTAL.sub(lambda found: chr(int(found[1], 8)), field) for field in fields[3:5])
        version = 2 if kind[0] == "cgroup2" else 1
        controllers = frozenset(kind[2].split(",")) if version == 1 else frozenset()
        found.append(Mount(point, root, version, controllers))
    return tuple(found)


def parse_own_groups(text: str) -> dict[str, str]:
    """Read /proc/self/cgroup: the path of our group by controller; "" is version 2."""
    rows = (line.split(":", 2) for line in text.splitlines() if line.count(":") > 1)
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


def levels(mount: Mount, group: str) -> tuple[str, ...]:
    """Return the folders of a group and of those above it, as far as the mount shows them, our own first.

    A container often sees its group by a path of the host that its own mount does not have: then the mount's
    top is the group.
    """
    path, root = PurePosixPath(group), PurePosixPath(mount.root)
    inside = (
        path.relative_to(root) if path.is_relative_to(root) and ".." not in path.parts else PurePosixPath()
    )
    below = PurePosixPath(mount.point, inside)
    depth = len(inside.parts)
    return tuple(str(folder) for folder in (below, *list(below.parents)[:depth]))


def parse_limit(text: str | None) -> int | None:
    """Read one limit or count; None for "max", for version 1's huge number, and for anything else."""
    words = (text or "").split()
    if not words or not words[0].isdecimal() or int(words[0]) >= _NO_LIMIT:
        return None
    return int(words[0])


def parse_stat(text: str | None) -> dict[str, int]:
    """Read a flat keyed file such as memory.stat."""
    rows = (line.split() for line in (text or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}  # noqa: PLR2004 - key, value


def parse_cpu_max(text: str | None) -> float | None:
    """Read version 2's cpu.max, "QUOTA PERIOD" in microseconds, as a number of processors."""
    words = (text or "").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:  # noqa: PLR2004 - as above
        return None
    return int(words[0]) / int(words[1])


def read_limits(root: Path = Path("/")) -> Limits:
    """Read the limits on this process; `root` is the folder that stands for /."""
    mounts = parse_mounts(_text(root / "proc/self/mountinfo") or "")
    groups = parse_own_groups(_text(root / "proc/self/cgroup") or "")
    memory, processes, cpus = [], [], []
    for mount in mounts:
        for folder in _folders(mount, groups, "memory"):
            memory += list(_memory(root, folder, mount.version))
        for folder in _folders(mount, groups, "pids"):
            limit = parse_limit(_at(root, folder, "pids.max"))
            used = parse_limit(_at(root, folder, "pids.current"))
            if limit is not None and used is not None:
                processes.append(Limit(limit, used, f"{folder}/pids.max"))
        for folder in _folders(mount, groups, "cpu"):
            cpus += list(_cpus(root, folder, mount.version))
    return Limits(
        min(memory, key=lambda one: (one.left, one.limit), default=None),
        min(processes, key=lambda one: (one.left, one.limit), default=None),
        min(cpus, default=None),
    )


def _folders(mount: Mount, groups: dict[str, str], controller: str) -> tuple[str, ...]:
    if mount.version == 1 and controller not in mount.controllers:
        return ()
    group = groups.get(controller if mount.version == 1 else "")
    return () if group is None else levels(mount, group)


def _memory(root: Path, folder: str, version: int) -> Iterator[Limit]:
    """Yield the memory limits of one group. Cache of files that nobody used lately is given back at need.

    Above memory.high a group is slowed down until it stands still: for a start that is a limit too.
    """
    current, names = "memory.current", ["memory.max", "memory.high"]
    if version == 1:
        current, names = "memory.usage_in_bytes", ["memory.limit_in_bytes"]
    used = parse_limit(_at(root, folder, current))
    if used is None:
        return
    stat = parse_stat(_at(root, folder, "memory.stat"))
    cache = stat.get("total_inactive_file", stat.get("inactive_file", 0))
    used = max(0, used - cache)
    for name in names:
        limit = parse_limit(_at(root, folder, name))
        if limit is not None:
            yield Limit(limit, used, f"{folder}/{name}")
    above = stat.get("hierarchical_memory_limit")  # Version 1 says so of groups that the mount does not show.
    if above is not None and above < _NO_LIMIT:
        yield Limit(above, used, f"{folder}/memory.stat")


def _cpus(root: Path, folder: str, version: int) -> Iterator[float]:
    text = _at(root, folder, "cpu.max")
    if version == 1:
        quota, period = (_at(root, folder, f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        text = f"{quota} {period}"  # No quota is -1, which is no decimal.
    cpus = parse_cpu_max(text)
    if cpus is not None:
        yield cpus


def _at(root: Path, folder: str, name: str) -> str | None:
    return _text(root / folder.lstrip("/") / name)


def _text(path: Path) -> str | None:
    """Read a file of the kernel's; None where there is none, or none for us."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None
