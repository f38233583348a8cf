"""Find modules as the backend's Python will: folders in their order, packages, namespace packages.

Only folders and names are looked at. Whoever is about to say that a module is missing asks `confirm_missing`,
which lets the backend's own Python look for the top-level name: code in `.pth` files, archives and import
hooks are known to it alone. Looking for a top-level name imports nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.preflight import interpreter

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig

_FIND = """
import importlib.util, json, sys
sys.path[0:1] = sys.argv[2:]
found = importlib.util.find_spec(sys.argv[1])
print(json.dumps(found and [found.origin, list(found.submodule_search_locations or [])]))
"""
#: In the order in which a module's file is chosen.
_SUFFIXES = (".so", ".pyd", ".py", ".pyc")
#: Their names carry the interpreter they were made for: NAME.cpython-311-x86_64-linux-gnu.so.
_COMPILED = (".so", ".pyd")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module is. `file` is None for a namespace package and for what has no file of its own.

    `folders` are where its submodules are looked for: none for a module that is no package.
    """

    file: Path | None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not found: the first dotted part that is not there, and the package that should have had it.

    `sure` is False where the package changes its own search path.
    """

    name: str
    parent: Place | None
    sure: bool = True


@dataclass(frozen=True)
class Search:
    """The search path of one backend. `own` is what stands before everything installed, nearest first.

    `open_end`: a file of the server's own may add to it, or change the folder.
    """

    python: str
    cwd: Path
    own: tuple[Path, ...]
    environ: Mapping[str, str]
    open_end: bool = False

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        library = interpreter.layout(self.python).library
        core = () if library is None else (library, library / "lib-dynload")
        return (*self.own, *core, *interpreter.site_packages(self.python))

    def find(self, module: str) -> Place | Missing:
        """Find a module by its dotted name."""
        top, *rest = module.split(".")
        place = find_in(top, self.folders)
        if place is None and top in interpreter.modules(self.python):
            place = _installed(interpreter.modules(self.python)[top])
        if place is None:
            return Place(None) if top in sys.builtin_module_names else Missing(top, None)
        return _descend(top, place, rest)

    def confirm_missing(self, module: str) -> bool:
        """Let the backend's own Python look; True only when it, too, finds no such module."""
        if self.open_end:
            return False
        top, *rest = module.split(".")
        answer = interpreter.ask(
            self.python, ("-c", _FIND, top, *map(str, self.own)), cwd=str(self.cwd), env=self.environ or None
        )
        try:
            found = json.loads(answer or "")
        except ValueError:
            return False
        if not isinstance(found, list):
            return found is None
        folders = tuple(Path(folder) for folder in found[1])
        below = _descend(top, Place(Path(found[0]) if found[0] else None, folders), rest)
        return isinstance(below, Missing) and below.sure


def search_of(config: StartConfig, environ: Mapping[str, str]) -> Search:
    """Return where the backend of a configuration will look, with what its server adds."""
    cwd = Path(config.cwd)
    first = [cwd]
    if config.target.kind == "script":
        first = [Path(os.path.realpath(cwd / config.target.value)).parent]
    elif config.target.kind == "app" and config.server == "uvicorn":
        # uvicorn/main.py: --app-dir is put in front; its options are also read from UVICORN_….
        given = option(config.args, "--app-dir") or environ.get("UVICORN_APP_DIR")
        first = [cwd / given, *first] if given else first
    elif config.target.kind == "app" and config.server == "gunicorn":
        # gunicorn/app/base.py: chdir, and the comma-separated folders of pythonpath, are put in front.
        moved = cwd / (option(config.args, "--chdir") or "")
        more = [moved / part for part in (option(config.args, "--pythonpath") or "").split(",") if part]
        first = [*reversed(more), moved, *first]
    path = [cwd / part if part else cwd for part in environ.get("PYTHONPATH", "").split(os.pathsep)]
    own = [*first, *(path if environ.get("PYTHONPATH") else [])]
    open_end = config.target.kind == "app" and config.server == "gunicorn" and _has_own_file(config, environ)
    return Search(config.python, cwd, tuple(dict.fromkeys(map(_normal, own))), environ, open_end)


def _has_own_file(config: StartConfig, environ: Mapping[str, str]) -> bool:
    """Say whether gunicorn reads settings elsewhere, which may change its folder (gunicorn/app/base.py)."""
    named = any(word.startswith(("-c", "--config")) for word in config.args)
    return named or "GUNICORN_CMD_ARGS" in environ or Path(config.cwd, "gunicorn.conf.py").exists()


def option(args: Sequence[str], name: str) -> str | None:
    """Return the value of an option, as the last one given counts."""
    found = None
    for word, following in zip_longest(args, args[1:]):
        if word == name:
            found = following
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))


def find_in(name: str, folders: Sequence[Path]) -> Place | None:
    """Find a name in folders as Python's own finder does: a package, a module, else parts of a namespace."""
    parts: list[Path] = []
    for folder in folders:
        listed = _listed(folder)
        inside = folder / name
        if name in listed and inside.is_dir():
            if (init := inside / "__init__.py").is_file():
                return Place(init, (inside,))
            parts.append(inside)
        if (file := listed.get(f"{name}.")) is not None:
            return Place(folder / file)
    return Place(None, tuple(parts)) if parts else None


def _listed(folder: Path) -> Mapping[str, str]:
    """Return what is in a folder: every name, and `name.` for the file that is the module of that name."""
    try:
        return _listing(folder, folder.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=256)
def _listing(folder: Path, _changed_ns: int) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for suffix in _SUFFIXES:
        for name in os.listdir(folder):  # noqa: PTH208 - hundreds of names, and no Path is needed
            found[name] = name
            if name.endswith(suffix):
                stem = name.partition(".")[0] if suffix in _COMPILED else name.removesuffix(suffix)
                found.setdefault(f"{stem}.", name)
    return found


def _installed(path: Path) -> Place:
    """Make the place of a module that an editable install maps by its path."""
    if path.is_dir():
        init = path / "__init__.py"
        return Place(init if init.is_file() else None, (path,))
    if path.name == "__init__.py":
        return Place(path, (path.parent,))
    return Place(path if path.is_file() else path.with_suffix(".py"))


def _descend(top: str, place: Place, rest: Sequence[str]) -> Place | Missing:
    name = top
    for part in rest:
        name = f"{name}.{part}"
        below = find_in(part, place.folders)
        if below is None:
            return Missing(name, place, sure=not _changes_path(place))
        place = below
    return place


def _changes_path(package: Place) -> bool:
    """Say whether a package may look elsewhere for its modules than in its own folder."""
    if package.file is None:
        return not package.folders
    if package.file.suffix != ".py":
        return True
    from masuka_magic.preflight.source import read_source

    source = read_source(package.file)
    return source is None or "__path__" in source.text or "sys.modules" in source.text
