"""Follow the imports that stand bare at the top of the application's file, one level.

What they cannot find beside the file, or cannot parse, ends the start as surely as the file's own mistakes.
An import inside a function, a condition or a `try` may never happen, or be allowed to fail: it is left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.preflight.definitions import Definitions, definitions
from masuka_magic.preflight.look import Look, cell
from masuka_magic.preflight.search import Missing, Place, find_in
from masuka_magic.preflight.source import Source, read_source

#: What is read of the imported files; a project's own files are seldom larger together.
_BUDGET_BYTES = 150_000


@dataclass(frozen=True, slots=True)
class Module:
    """The module of the target, its file read and parsed."""

    name: str
    place: Place
    source: Source
    shown: str
    known: Definitions


def follow(look: Look, module: Module) -> Iterator[Source | Finding]:
    """Follow the bare imports of the module's file: yield the user's files that were read, and what fails."""
    source = module.source
    package = module.name.split(".") if module.place.folders else module.name.split(".")[:-1]
    moves = _moves_path(source)
    left = _BUDGET_BYTES
    for node in () if source.tree is None else source.tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        level = node.level if isinstance(node, ast.ImportFrom) else 0
        if level > len(package) and "__package__" not in source.text:
            yield _no_package(look, module, node, level - len(package))
        elif level or not moves:
            for read in _imported(look, module, node, package):
                if isinstance(read, Source):
                    left -= len(read.text)
                    moves = moves or _moves_path(read)
                yield read
        if left < 0:
            return


def _imported(
    look: Look, module: Module, node: ast.Import | ast.ImportFrom, package: list[str]
) -> Iterator[Source | Finding]:
    """Yield what one import reads of the user's files, or why it fails."""
    for name, parts in _names(node, package):
        found = look.search.find(name)
        if isinstance(found, Missing):
            outside = _outside(look, module, name, node) if found.parent is None else None
            yield from () if outside is None else (outside,)
            continue
        for place in (found, *_submodules(look, found, parts)):
            if place.file is None or place.file == module.source.path or not look.is_own(place.file):
                continue
            fault = look.fault(place.file)
            read = read_source(place.file) if fault is None and place.file.suffix == ".py" else None
            yield from (one for one in (fault, read) if one is not None)


def _names(node: ast.Import | ast.ImportFrom, package: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the modules that an import names, each with the names that are taken out of it."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, []) for alias in node.names)
        return
    base = package[: len(package) - node.level + 1] if node.level else []
    whole = ".".join([*base, *([node.module] if node.module else [])])
    if whole:
        yield whole, [alias.name for alias in node.names]


def _submodules(look: Look, place: Place, names: list[str]) -> Iterator[Place]:
    """Yield those names of a package that are modules of it, where the package defines nothing of that name."""
    defined: Collection[str] = ()
    if place.file is not None:
        source = read_source(place.file) if place.folders and look.is_own(place.file) else None
        if source is None or source.tree is None or (known := definitions(source.tree)).unsure:
            return
        defined = known.names.keys()
    for name in names:
        found = None if name in defined else find_in(name, place.folders)
        if found is not None:
            yield found


def _moves_path(source: Source) -> bool:
    return "sys.path" in source.text or "chdir" in source.text or "addsitedir" in source.text


def _no_package(look: Look, module: Module, node: ast.stmt, above: int) -> Finding:
    """Say that a relative import has no package to start from: the folder is the package."""
    fixes: tuple[Remedy, ...] = ()
    if above == 1 and look.cwd.name.isidentifier():
        fixes = (_start_above(look),)
    return Finding(
        "wrong-cwd",
        f"cwd is inside the package: {module.shown} imports relative to it",
        module.shown,
        (EvidenceLine(module.shown, node.lineno, ast.unparse(node)),),
        ("with this cwd there is no package that the dots could mean",),
        fixes,
    )


def _start_above(look: Look) -> Remedy:
    whole = f"{look.cwd.name}.{look.config.target.value}"
    lines = f"{cell('cwd', str(look.cwd.parent))}\n{cell('app', whole)}"
    return Remedy("start in the folder above", lines, "cell", safe=True)


def _outside(look: Look, module: Module, name: str, node: ast.stmt) -> Finding | None:
    """Say that the file imports, by its full name, the package whose folder is `cwd`."""
    top = name.partition(".")[0]
    if top != look.cwd.name or not look.search.confirm_missing(top):
        return None
    return Finding(
        "wrong-cwd",
        f"cwd is inside the package {top}, which {module.shown} imports",
        module.name,
        (EvidenceLine(module.shown, node.lineno, ast.unparse(node)),),
        (f"{top} is in {look.cwd.parent}",),
        (_start_above(look),),
    )
