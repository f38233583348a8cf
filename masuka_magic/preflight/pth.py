"""Read the `.pth` files of a site folder as the `site` module would, without running what they run.

Their lines add folders, or run code: that of editable installs is read for what it maps, what is known to add
no module is passed over, and the rest is said to be unread.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

_MAX_BYTES = 1_000_000
#: Code in `.pth` files that brings no module of its own: setuptools' distutils, virtualenv, coverage,
#: namespace packages of old (setuptools' `-nspkg.pth`, whose folders are there to be found).
_HARMLESS = re.compile(
    r"_distutils_hack|import _virtualenv\b|coverage\.process_startup|pytest_cov|has_mfs|importlib\.machinery"
    r"|debugpy|google\.colab|import _?sitecustomize\b"
)
#: setuptools: `import __editable___NAME_finder`; `editables` (hatch, pdm): `import _editable_impl_NAME`;
#: scikit-build-core and meson-python: other names, with code that only running could tell.
_EDITABLE = re.compile(r"import (__editable___\w+_finder|_editable_impl_\w+|__editables_\w+)")
_MAP_MODULE = re.compile(r"""map_module\(\s*(['"])(?P<name>[\w.]+)\1\s*,\s*(['"])(?P<path>[^'"]+)\3""")


@dataclass(frozen=True, slots=True)
class PathFiles:
    """What the `.pth` files of one folder do: folders added, modules mapped, and whether code was not understood."""

    added: tuple[Path, ...] = ()
    mapped: Mapping[str, Path] = field(default_factory=dict)
    unread: bool = False


@lru_cache(maxsize=64)
def read_folder(folder: Path, _stamp: int) -> PathFiles:
    """Read a site folder's `.pth` files, in the order of their names. `_stamp` names the state of the folder."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - thousands of names, of which a few are wanted
    except OSError:
        return PathFiles()
    added: list[Path] = []
    mapped: dict[str, Path] = {}
    unread = False
    for name in names:
        if not name.endswith(".pth") or name.startswith("."):
            continue
        for line in _text(folder / name).splitlines():
            if line.startswith(("import ", "import\t")):
                editable = _EDITABLE.search(line)
                found = None if editable is None else _mapping(folder / f"{editable[1]}.py")
                mapped |= found or {}
                unread = unread or (found is None and _HARMLESS.search(line) is None)
            elif line.strip() and not line.startswith("#"):
                place = folder / line.rstrip()
                if place.exists():
                    added.append(Path(os.path.normpath(place)))
    return PathFiles(tuple(dict.fromkeys(added)), mapped, unread)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def _mapping(finder: Path) -> dict[str, Path] | None:
    """Read which modules the finder of an editable install maps; None when it cannot be told."""
    text = _text(finder)
    listed = {match["name"]: Path(match["path"]) for match in _MAP_MODULE.finditer(text)}
    if listed:
        return listed
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found: dict[str, Path] | None = None
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if not isinstance(node, ast.AnnAssign) or not isinstance(target, ast.Name) or node.value is None:
            continue
        try:
            value = ast.literal_eval(node.value)
        except (ValueError, TypeError, RecursionError):
            continue
        if target.id == "MAPPING" and isinstance(value, dict):
            found = {**(found or {}), **{str(name): Path(str(path)) for name, path in value.items()}}
        elif target.id == "NAMESPACES" and isinstance(value, dict):
            found = {
                **{str(name): Path(str((paths or ["/"])[0])) for name, paths in value.items()},
                **(found or {}),
            }
    return found
