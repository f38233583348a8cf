"""Find files of the user's that hide a module which the server or the application imports.

Only a name that somebody is known to import counts, and an installed one only when it is a distribution's own:
a `utils.py` beside an installed package that carries its own `utils` is nobody's mistake.
"""

from __future__ import annotations

import ast
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.diagnosis.packages import DISTRIBUTIONS
from masuka_magic.preflight import interpreter

if TYPE_CHECKING:
    from masuka_magic.preflight.source import Source

_MOST_NAMES = 3000
#: Loaded before the backend's folder is looked at (Python 3.8 to 3.13 at its start): nobody can hide these.
_LOADED = frozenset(
    {"abc", "codecs", "encodings", "genericpath", "io", "os", "posixpath", "site", "stat", "zipimport"}
)
#: What `import uvicorn, fastapi` loads of the standard library on Python 3.8 to 3.13.
_NEEDED = """
    ast asyncio base64 bisect bz2 calendar collections colorsys concurrent configparser contextlib contextvars
    copy copyreg csv dataclasses datetime decimal dis email enum fnmatch fractions functools gettext glob hashlib
    heapq hmac html http importlib inspect ipaddress json keyword linecache locale logging lzma mimetypes
    multiprocessing numbers opcode operator pathlib pickle platform queue quopri random re reprlib secrets
    selectors shlex shutil signal socket socketserver ssl string struct subprocess sysconfig tempfile textwrap
    threading token tokenize traceback types typing urllib uuid warnings weakref zipfile zoneinfo
"""
#: What servers and frameworks import of each other.
_STACK = """
    annotated_types anyio click fastapi gunicorn h11 h2 hpack httptools hypercorn idna priority pydantic
    pydantic_core sniffio starlette typing_extensions typing_inspection uvicorn uvloop websockets wsproto
"""


def shadowing(root: Path, python: str, sources: Sequence[Source], target: str) -> Iterator[Finding]:
    """Yield a finding for each hidden module; `sources` are the files whose imports are known.

    `target` is the top-level name of the application: a project may be installed and in its folder, too.
    """
    imported = {name: source for source in sources for name in _imports(source)}
    for name, file in _own(root):
        if name == target and not _imports_itself(file, name, sources):
            continue
        hidden = _hidden(name, file, python, imported)
        if hidden is not None:
            yield _finding(name, file, hidden, imported.get(name), root)


def _own(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the modules at the top of the folder: files, and packages with an `__init__.py`."""
    try:
        with os.scandir(root) as entries:
            names = sorted(one.name for one, _ in zip(entries, range(_MOST_NAMES), strict=False))
    except OSError:
        return
    for name in names:
        if name.endswith(".py"):
            yield name[:-3], root / name
        elif (
            "." not in name and (name in sys.stdlib_module_names) and (root / name / "__init__.py").is_file()
        ):
            yield name, root / name


def _hidden(name: str, file: Path, python: str, imported: dict[str, Source]) -> str | None:
    """Say what a module of the user's hides; None when nothing that anybody here imports."""
    if name in sys.stdlib_module_names:
        fixed = name in _LOADED or name in sys.builtin_module_names
        return (
            f"Python's own module {name}"
            if not fixed and (name in _NEEDED.split() or name in imported)
            else None
        )
    if not file.is_file() or not (name in imported or name in _STACK.split()):
        return None
    there = interpreter.modules(python).get(name)
    project = interpreter.normalized(DISTRIBUTIONS.get(name, name).partition("[")[0])
    version = interpreter.distributions(python).get(project)
    if there is None or version is None or there.parent not in interpreter.layout(python).sites:
        return None
    return f"the installed {name} {version}".rstrip()


def _imports(source: Source) -> set[str]:
    found: set[str] = set()
    for node in () if source.tree is None else ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _imports_itself(file: Path, name: str, sources: Sequence[Source]) -> bool:
    return any(source.path == file and name in _imports(source) for source in sources)


def _finding(name: str, file: Path, hidden: str, importer: Source | None, root: Path) -> Finding:
    notes = [f"Python looks into {root} first"]
    if importer is not None:
        where = os.path.relpath(importer.path, root)
        itself = importer.path == file
        notes.append(f"{where} imports {name}" + (", and finds itself" if itself else ""))
    else:
        notes.append("the server and its framework import it")
    renamed = file.with_name(f"my_{file.name}")
    move = ("mv", str(file), str(renamed))
    return Finding(
        "name-shadowing",
        f"{file.name} hides {hidden}",
        file.name,
        (EvidenceLine("application", None, str(file)),),
        tuple(notes),
        (Remedy("rename it, and what imports it on purpose", shlex.join(move), argv=move, confidence=0.7),),
    )
