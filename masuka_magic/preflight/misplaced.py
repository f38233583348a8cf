"""Say where the module of a target is instead, or which name was meant; nothing is said that is not certain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.preflight.look import Look, cell, relation
from masuka_magic.preflight.neighbours import applications_near, folders_with, python_files, similar
from masuka_magic.preflight.search import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_OFFERED = 3


def misplaced(look: Look, module: str, attribute: str, missing: Missing) -> Finding | None:
    """Make the finding for a module that is not there; None where the backend's Python may find it after all."""
    if not missing.sure or not look.search.confirm_missing(module):
        return None
    parts = module.split(".")
    folders = list(dict.fromkeys(folders_with(module, look.cwd)))[:_MOST_OFFERED]
    below = [folder for folder in folders if folder.is_relative_to(look.cwd)]
    inside = [folder for folder in below if (folder / "__init__.py").is_file()]
    file = "/".join(parts) + ".py"
    if inside:
        # A package's module is meant: its folder must not become the place where imports begin.
        whole = ".".join((*inside[0].relative_to(look.cwd).parts, module))
        title = f"there is no module {module} in {look.cwd}; {whole} is there"
        fix = Remedy("name it whole", cell("app", f"{whole}:{attribute}"), "cell", safe=True)
        return Finding("asgi-import-path", title, module, (), (), (fix,))
    if folders:
        title = f"{file} is in {relation(folders[0], look.cwd)}"
        fixes = tuple(
            Remedy("start it there", cell("cwd", str(folder)), "cell", safe=True) for folder in folders
        )
        return Finding("wrong-cwd", title, module, (), (), fixes)
    notes, targets = [], []
    notebook = look.cwd.joinpath(*parts).with_suffix(".ipynb")
    if notebook.is_file():
        notes.append(f"{look.shown(notebook)} is a notebook; Python imports .py files")
    if missing.parent is not None and not missing.parent.folders and missing.parent.file is not None:
        notes.append(f"{look.shown(missing.parent.file)} is a module, not a package")
    if len(parts) > 1 and look.cwd.joinpath(*parts[1:]).with_suffix(".py").is_file():
        targets.append(f"{'.'.join(parts[1:])}:{attribute}")
    targets += _nearest(look, missing, parts, attribute)
    targets += applications_near(look.cwd)
    fixes = tuple(
        Remedy("name what is there", cell("app", target), "cell", safe=True, confidence=0.8)
        for target in list(dict.fromkeys(targets))[:_MOST_OFFERED]
    )
    where = (
        look.cwd
        if missing.parent is None
        else " and ".join(map(look.shown, missing.parent.folders[:2])) or missing.name
    )
    fixes = fixes or (Remedy("correct `app`, or set `cwd` to the folder that holds it", kind="cell"),)
    return Finding(
        "asgi-import-path",
        f"there is no module {missing.name} in {where}",
        missing.name,
        (),
        tuple(notes),
        fixes,
    )


def _nearest(look: Look, missing: Missing, parts: list[str], attribute: str) -> list[str]:
    """Return targets with the missing part spelled like a neighbour, where the rest is there then."""
    at = missing.name.count(".")
    folders: Sequence[Path] = (look.cwd,) if missing.parent is None else missing.parent.folders
    names = [name for folder in folders for name in python_files(folder)]
    changed = [[*parts[:at], name, *parts[at + 1 :]] for name in similar(parts[at], names)]
    return [
        f"{'.'.join(words)}:{attribute}"
        for words in changed
        if not isinstance(look.search.find(".".join(words)), Missing)
    ]
