"""Whether a backend that already runs is the one that is wanted now: reuse it, or restart it and say why.

Pure but for `snapshot`, which lists the sources of a folder; it reads no file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from masuka_magic.config.model import StartConfig

#: Source files beyond this number are not looked at: listing must stay far below the time of a start.
MOST_FILES = 5_000
#: Nor folders: a data set may have a hundred thousand of them.
MOST_FOLDERS = 2_000
#: Folders that hold no source of the user's own.
NOT_SOURCES = frozenset({"node_modules", "__pycache__", "site-packages", "venv", "env", "build", "dist"})
_UNCOMPARED = frozenset({"raw", "secrets", "config_file"})

Sources = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a running backend; `text` says why, for the user."""

    reuse: bool
    text: str


def decide(  # noqa: PLR0913 - what was, what is wanted, and the two wishes that override them
    old: StartConfig,
    new: StartConfig,
    *,
    phase: str,
    changed_sources: tuple[str, ...],
    restart: bool,
    reuse: bool,
) -> Decision:
    """Decide for a backend that is alive. A reloading server looks after its own sources."""
    if restart:
        return Decision(reuse=False, text="restarted, as asked")
    differing = changed_keys(old, new)
    if differing:
        return Decision(reuse=False, text=f"restarted: {_listed(differing)} changed")
    if reuse:
        return Decision(reuse=True, text="reused, as asked")
    if phase != "ready":
        return Decision(reuse=False, text=f"restarted: it was {phase}")
    if changed_sources and "--reload" not in new.args:
        return Decision(reuse=False, text=f"restarted: {_listed(changed_sources)} changed since the start")
    return Decision(reuse=True, text="already running with the same configuration and code: reused")


def changed_keys(old: StartConfig, new: StartConfig) -> tuple[str, ...]:
    """Name the keys of the configuration that differ, as the user writes them."""
    return tuple(
        field.name.removesuffix("_s").removesuffix("_bytes")
        for field in fields(old)
        if field.name not in _UNCOMPARED and getattr(old, field.name) != getattr(new, field.name)
    )


def changed_sources(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> tuple[str, ...]:
    """Name the files that differ, that are new, or that are gone, in alphabetical order."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def snapshot(folder: str) -> Sources:
    """List the Python files and .env below `folder`: relative path to time of change (ns) and size (bytes)."""
    found: Sources = {}
    for count, (path, folders, names) in enumerate(os.walk(folder)):
        if count >= MOST_FOLDERS:
            break
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in NOT_SOURCES
            and not os.path.exists(os.path.join(path, name, "pyvenv.cfg"))  # noqa: PTH118, PTH110 - 5,000 paths
            # What is mounted there (Google Drive) may take seconds to list, and is data.
            and not os.path.ismount(os.path.join(path, name))  # noqa: PTH118 - as above
        ]
        for name in names:
            if name.endswith(".py") or name == ".env":
                whole = os.path.join(path, name)  # noqa: PTH118 - pathlib is ten times as slow here
                try:
                    stat = os.stat(whole)  # noqa: PTH116 - as above
                except FileNotFoundError:
                    continue  # gone between the listing and the look
                found[os.path.relpath(whole, folder)] = (stat.st_mtime_ns, stat.st_size)
                if len(found) >= MOST_FILES:
                    return found
    return found


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"  # noqa: PLR2004 - one line's worth
