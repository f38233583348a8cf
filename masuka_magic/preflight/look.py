"""What the readers of an application share: what is asked for, where it is looked for, what came of it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.preflight import interpreter
from masuka_magic.preflight.source import Fault, Source, fault_for, read_source

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig
    from masuka_magic.preflight.search import Search

#: Statements that older Pythons do not parse, and since which version Python does.
_NEWER = (
    (re.compile(r"\s*type\s+\w+(\[.*\])?\s*="), (3, 12), "a `type` statement"),
    (re.compile(r"\s*(async\s+)?(def|class)\s+\w+\["), (3, 12), "type parameters"),
    (re.compile(r"\s*except\s*\*"), (3, 11), "`except*`"),
    (re.compile(r"\s*match\s+[^=]+:\s*(#.*)?$"), (3, 10), "a `match` statement"),
)
_CUT = 200


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one configuration. `version` is the backend's Python, None where it is not known."""

    config: StartConfig
    environ: Mapping[str, str]
    search: Search
    version: tuple[int, int] | None

    @property
    def cwd(self) -> Path:
        return Path(self.config.cwd)

    def shown(self, path: Path) -> str:
        """Write a path as seen from the backend's folder when it lies inside, else whole."""
        return str(path.relative_to(self.cwd)) if path.is_relative_to(self.cwd) else str(path)

    def is_own(self, path: Path) -> bool:
        """Say whether a file is the user's: below one of the folders that are searched before what is installed."""
        library = interpreter.layout(self.config.python).library
        if {"site-packages", "dist-packages"}.intersection(path.parts):
            return False
        if library is not None and path.is_relative_to(library):
            return False
        return any(path.is_relative_to(folder) for folder in self.search.own)

    def fault(self, path: Path) -> Finding | None:
        """Say where a file does not parse in the backend's Python; None where it does or cannot be told."""
        source = read_source(path)
        if source is None or path.suffix != ".py":
            return None
        found = fault_for(source, self.config.python, self.version)
        return None if found is None else self._does_not_parse(source, found)

    def _does_not_parse(self, source: Source, fault: Fault) -> Finding:
        file = self.shown(source.path)
        evidence = pointed(file, fault)
        newer = self._needs(fault)
        if newer is not None:
            runs = ".".join(map(str, self.version or ()))
            own = Remedy(
                "use the kernel's own, in the cell",
                f"python = {json.dumps(sys.executable)}",
                "cell",
                confidence=0.6,
            )
            fixes = (own,) if fault.newer else ()
            title = f"{file}:{fault.line} {newer}; the backend's Python is {runs}"
            return Finding("python-version", title, f"{file}:{fault.line}", evidence, (fault.message,), fixes)
        title = f"{file}:{fault.line} does not parse: {fault.message}"
        notes: tuple[str, ...] = ()
        if fault.text.lstrip().startswith(("!", "%")):
            notes = ("a line that begins with ! or % is a notebook's command; Python files have none",)
        elif source.text.lstrip().startswith("{") and '"nbformat"' in source.text:
            notes = ("the file holds a notebook, not Python; export it as a script",)
        return Finding("syntax-error", title, f"{file}:{fault.line}", evidence, notes)

    def _needs(self, fault: Fault) -> str | None:
        """Say which Python a line needs, where it is newer than the backend's; None for a plain mistake."""
        for pattern, since, what in _NEWER:
            if self.version is not None and self.version < since and pattern.match(fault.text):
                return f"has {what}, which needs Python {since[0]}.{since[1]}"
        return "needs a newer Python" if fault.newer else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading came to. `text` says what was found; `sources` are the user's files that were read.

    `top` is the top-level name of what is started, "" where it has none.
    """

    text: str
    failed: tuple[Finding, ...] = ()
    warned: tuple[Finding, ...] = ()
    sources: tuple[Source, ...] = ()
    top: str = ""


def pointed(file: str, fault: Fault) -> tuple[EvidenceLine, ...]:
    """Show a line and point at its character."""
    shown = fault.text.strip()[:_CUT]
    line = EvidenceLine(file, fault.line, shown)
    column = fault.column - 1 - (len(fault.text) - len(fault.text.lstrip()))
    if not shown:
        return ()
    if fault.column < 1 or not 0 <= column <= len(shown):
        return (line,)
    return (line, EvidenceLine("", None, " " * column + "^"))


def cell(key: str, value: str) -> str:
    """Write one key of the cell."""
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def relation(folder: Path, cwd: Path) -> str:
    """Say where a folder is, as seen from `cwd`: `backend/, and cwd is its parent`."""
    if folder.parent == cwd:
        return f"{folder.name}/, and cwd is its parent"
    if cwd.parent == folder:
        return f"{folder}, and cwd is inside it"
    inside = os.path.relpath(folder, cwd) if folder.is_relative_to(cwd) else str(folder)
    return f"{inside}, not in {cwd}"
