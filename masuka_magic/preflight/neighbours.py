"""What stands near the backend's folder: where a module is instead, which name was meant, which `.env`.

Everything is bounded: a few folders upwards, a few hundred below. Folders of installed packages are passed over.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from masuka_magic.preflight.definitions import definitions
from masuka_magic.preflight.source import read_source

_PASSED_OVER = frozenset(
    {
        "__pycache__",
        "node_modules",
        "site-packages",
        "dist-packages",
        "venv",
        "env",
        "virtualenv",
        "proc",
        "sys",
    }
)
_PARENTS = 3
_DEPTH = 3
_MOST_FOLDERS = 300
_MOST_NAMES = 3
_MOST_FILES = 20
_FILE_BYTES = 64 * 1024
#: Names that an application's module usually has, likeliest first.
_USUAL = ("main.py", "app.py", "server.py", "api.py", "asgi.py", "wsgi.py")


def folders_with(module: str, cwd: Path) -> Iterator[Path]:
    """Yield the folders near `cwd` in which the module's file is, nearest first.

    A sister folder counts when it is the only one: below a folder such as /tmp there may be many.
    """
    near = (*list(cwd.parents)[:_PARENTS], *folders_below(cwd))
    yield from (folder for folder in near if holds(module, folder))
    sisters = [one for one in folders_below(cwd.parent, depth=1) if one != cwd and holds(module, one)]
    if len(sisters) == 1:
        yield sisters[0]


def holds(module: str, folder: Path) -> bool:
    """Say whether a folder has the module's file."""
    place = folder.joinpath(*module.split("."))
    return _is_readable(place.with_name(f"{place.name}.py")) or _is_readable(place / "__init__.py")


def _is_readable(path: Path) -> bool:
    """Say whether a path is there to be read; Path.exists raises for one in a folder that is closed to us."""
    return os.access(path, os.R_OK)


def folders_below(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """Yield the folders below, level by level, hidden and installed ones left out."""
    level = [folder]
    seen = 0
    for _ in range(depth):
        below: list[Path] = []
        for each in level:
            for inside in _folders(each):
                seen += 1
                if seen > _MOST_FOLDERS:
                    return
                yield inside
                below.append(inside)
        level = below


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))
    except OSError:
        return []
    kept = (name for name in names if not name.startswith(".") and name not in _PASSED_OVER)
    return [folder / name for name in kept if not _is_readable(folder / name / "pyvenv.cfg")]


def nearest_parent(path: Path) -> Path:
    """Return the nearest folder above a path that is there."""
    return next((parent for parent in path.parents if parent.is_dir()), Path(path.anchor or "."))


def similar(name: str, names: Sequence[str]) -> list[str]:
    """Return the names that look most like one, those that differ in case alone first."""
    same = [other for other in names if other.lower() == name.lower() and other != name]
    close = difflib.get_close_matches(name, names, n=_MOST_NAMES, cutoff=0.6)
    return list(dict.fromkeys([*same, *close]))[:_MOST_NAMES]


def python_files(folder: Path) -> list[str]:
    """Return the names of a folder's Python files and of its folders with modules, as modules are named."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((one.name, one.is_dir()) for one in entries if not one.name.startswith("."))
    except OSError:
        return []
    files = [name[:-3] for name, is_folder in found if name.endswith(".py") and not is_folder]
    packages = [
        name for name, is_folder in found if is_folder and name not in _PASSED_OVER and name.isidentifier()
    ]
    return [*files, *packages]


def applications_near(cwd: Path) -> list[str]:
    """Return `module:attribute` of applications that files of the folder, or one below it, define."""
    found: list[tuple[int, str]] = []
    looked = 0
    for folder in (cwd, *folders_below(cwd, depth=1)):
        for name in sorted(python_files(folder), key=lambda name: f"{name}.py" not in _USUAL):
            file = folder / f"{name}.py"
            if looked == _MOST_FILES:
                break
            if not _is_readable(file) or file.stat().st_size > _FILE_BYTES:
                continue
            looked += 1
            source = read_source(file)
            if source is None or source.tree is None:
                continue
            module = ".".join((*folder.relative_to(cwd).parts, name))
            rank = _USUAL.index(file.name) if file.name in _USUAL else len(_USUAL)
            found += [(rank, f"{module}:{attribute}") for attribute in definitions(source.tree).applications]
    return [target for _, target in sorted(found)][:_MOST_NAMES]


def set_from_outside(name: str, cwd: Path, module: Path) -> bool:
    """Say whether some file of the project may put a name into a module from outside, or does dark magic.

    Looked for as text, in a few hundred files: who sets `.app = `, says `setattr` with the name, or takes
    the variables of a caller.
    """
    word = re.escape(name)
    sets = re.compile(
        rf"(?<!\bself)(?<!\bcls)\.{word}\s*(:[^=\n]+)?=(?!=)|setattr\([^)\n]*[\"']{word}[\"']|f_globals|_getframe"
    )
    looked = [module]
    for folder in (cwd, *folders_below(cwd)):
        looked += [folder / f"{file}.py" for file in python_files(folder)]
    sources = (read_text(file) for file in looked[:_MOST_FOLDERS])
    return any(sets.search(text) for text in sources)


def read_text(path: Path) -> str:
    """Read the beginning of a file, "" for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def env_file_near(cwd: Path, package: Path) -> Path | None:
    """Return the `.env` of the application's own folder or of the parent of `cwd`, where `cwd` has none."""
    if _is_readable(cwd / ".env"):
        return None
    return next((file for folder in (package, cwd.parent) if _is_readable(file := folder / ".env")), None)
