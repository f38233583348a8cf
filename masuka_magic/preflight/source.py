"""Read a Python file of the user's, and say where it does not parse. Nothing is imported or executed.

A file is read up to 2 MB and kept parsed until it changes. This process's Python parses; the backend's own is
asked where the two differ.
"""

from __future__ import annotations

import ast
import json
import sys
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from masuka_magic.preflight.interpreter import ask

MAX_BYTES = 2_000_000

_PARSE = """
import json, sys, warnings
warnings.simplefilter("ignore")
try:
    compile(open(sys.argv[1], "rb").read(), sys.argv[1], "exec", dont_inherit=True)
except SyntaxError as error:
    print(json.dumps([type(error).__name__, error.lineno, error.offset, error.msg, error.text]))
else:
    print("null")
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a file does not parse. `column` counts characters from 1, 0 where it is unknown.

    `newer` is True when the kernel's own, newer Python accepts the file.
    """

    kind: str
    line: int
    column: int
    message: str
    text: str
    newer: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """One file. `tree` is None when this process's Python does not parse it; `fault` says why, if it can."""

    path: Path
    text: str
    tree: ast.Module | None
    fault: Fault | None


def read_source(path: Path) -> Source | None:
    """Read and parse a file; None for one that cannot be read or is too large to judge."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return None if facts.st_size > MAX_BYTES else _read(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=128)
def _read(path: Path, _changed_ns: int, _size: int) -> Source | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES)
    except OSError:
        return None
    tree: ast.Module | None = None
    fault: Fault | None = None
    try:
        with warnings.catch_warnings():
            # A doubtful escape in a string is the backend's to warn of, once, in its own log.
            warnings.simplefilter("ignore")
            tree = ast.parse(content, str(path))
            compile(tree, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        fault = _fault([type(error).__name__, error.lineno, error.offset, error.msg, error.text], content)
    except (ValueError, RecursionError, MemoryError):
        tree = None  # Nesting without end is left to the start.
    if (
        b"\0" in content and tree is None
    ):  # A ValueError up to Python 3.11, a SyntaxError without a line since.
        fault = Fault("SyntaxError", 1, 0, "it holds NUL bytes, as UTF-16 text does; Python reads UTF-8", "")
    return Source(path, content.decode("utf-8-sig", "replace"), tree, fault)


def _fault(said: list[object], content: bytes) -> Fault | None:
    kind, line, column, message, text = said
    if not isinstance(line, int) or line < 1:
        return None
    if not isinstance(text, str):
        lines = content.decode("utf-8", "replace").splitlines()
        text = lines[line - 1] if line <= len(lines) else ""
    return Fault(str(kind), line, column if isinstance(column, int) else 0, str(message), text.rstrip("\n"))


def fault_for(source: Source, python: str, backend: tuple[int, int] | None) -> Fault | None:
    """Say where the backend's own Python does not parse the file; None also where that is not known for sure.

    `backend` is its version. It is asked only where this process's Python cannot stand for it.
    """
    own = sys.version_info[:2]
    if backend is None or backend == own:
        return source.fault if backend == own else None
    if source.fault is None and (backend > own or _parses_as(source, backend)):
        return None
    try:
        said = json.loads(ask(python, ("-I", "-S", "-c", _PARSE, str(source.path))) or "")
    except ValueError:
        return None
    found = (
        _fault(said, source.text.encode()) if isinstance(said, list) and len(said) == len(_FIELDS) else None
    )
    if found is None or source.fault is not None:
        return found
    return Fault(found.kind, found.line, found.column, found.message, found.text, newer=True)


_FIELDS = ("kind", "line", "column", "message", "text")


@lru_cache(maxsize=128)
def _accepted(path: Path, text: str, version: tuple[int, int]) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text, str(path), feature_version=version)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _parses_as(source: Source, version: tuple[int, int]) -> bool:
    """Say whether the file looks as if an older Python parses it (ast.parse does its best, no more)."""
    return source.tree is None or _accepted(source.path, source.text, version)
