"""Read the targets that are no application: a Python file, a module to run, any program."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.preflight import interpreter
from masuka_magic.preflight.look import Look, Verdict, cell, relation
from masuka_magic.preflight.neighbours import folders_below, folders_with, python_files, similar
from masuka_magic.preflight.search import Missing
from masuka_magic.preflight.source import read_source

_MOST_OFFERED = 3
_SHELL = ("/bin/sh", "-c")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def script(look: Look) -> Verdict:
    """Look at a Python file."""
    value = look.config.target.value
    file = look.cwd / value
    if file.suffix == ".ipynb" and file.is_file():
        return Verdict("", (_notebook(look, file),))
    if file.is_dir():
        inside = file / "__main__.py"
        if inside.is_file():
            return Verdict(f"{value} has a __main__.py")
        return Verdict("", (Finding("missing-path", f"{value} is a folder, not a Python file", value),))
    if not file.is_file():
        return Verdict("", (_no_script(look, file),))
    source = read_source(file)
    fault = look.fault(file)
    sources = () if source is None else (source,)
    version = interpreter.layout(look.config.python).version
    text = f"{look.shown(file)} is there" + (f", Python {version}" if version else "")
    return Verdict(text, () if fault is None else (fault,), (), sources, file.stem)


def _notebook(look: Look, file: Path) -> Finding:
    argv = (look.config.python, "-m", "jupyter", "nbconvert", "--to", "script", str(file))
    fixes = [
        Remedy("export it as a script, then start that", shlex.join(argv), "shell", argv, confidence=0.8)
    ]
    if file.with_suffix(".py").is_file():
        named = cell("script", look.shown(file.with_suffix(".py")))
        fixes.insert(0, Remedy("start the script beside it", named, "cell", safe=True))
    title = f"{look.shown(file)} is a notebook, not a Python file"
    return Finding("syntax-error", title, look.shown(file), (), (), tuple(fixes))


def _no_script(look: Look, file: Path) -> Finding:
    title = f"there is no file {look.shown(file)}"
    title += f" in {look.cwd}" if not Path(look.config.target.value).is_absolute() else ""
    near = [f"{name}.py" for name in similar(file.stem, python_files(file.parent))]
    found = [look.shown(file.with_name(name)) for name in near if file.with_name(name).is_file()]
    found += [
        look.shown(folder / file.name)
        for folder in (look.cwd.parent, *folders_below(look.cwd))
        if (folder / file.name).is_file()
    ]
    notes: list[str] = []
    if file.with_suffix(".ipynb").is_file():
        notes.append(f"{look.shown(file.with_suffix('.ipynb'))} is a notebook; export it as a script first")
    if not file.parent.is_dir():
        notes.append(f"there is no folder {file.parent}")
    fixes = tuple(
        Remedy("start this one", cell("script", name), "cell", safe=True)
        for name in list(dict.fromkeys(found))[:_MOST_OFFERED]
    )
    return Finding("missing-path", title, str(file), (), tuple(notes), fixes)


def module(look: Look) -> Verdict:
    """Look at a module that is run as `python -m` does."""
    name = look.config.target.value
    place = look.search.find(name)
    if isinstance(place, Missing):
        finding = _no_module(look, name, place)
        return Verdict(f"{name} was not found by reading", () if finding is None else (finding,))
    if place.folders:
        return _package(look, name)
    file = place.file
    if file is None or not look.is_own(file):
        return Verdict(f"{name} is installed")
    source = read_source(file)
    fault = look.fault(file)
    sources = () if source is None else (source,)
    return Verdict(
        f"{look.shown(file)} is there", () if fault is None else (fault,), (), sources, name.partition(".")[0]
    )


def _package(look: Look, name: str) -> Verdict:
    """Look for what runs a package: its `__main__`."""
    main = look.search.find(f"{name}.__main__")
    if not isinstance(main, Missing):
        return Verdict(f"{name} has a __main__")
    if not main.sure or not look.search.confirm_missing(f"{name}.__main__"):
        return Verdict(f"{name} found")
    inside = [
        f"{name}.{file}"
        for folder in (main.parent.folders if main.parent else ())
        for file in python_files(folder)
    ]
    offered = [one for one in inside if one.rpartition(".")[2] in {"main", "app", "server", "cli"}]
    fixes = tuple(
        Remedy("run one of its modules", cell("module", one), "cell") for one in offered[:_MOST_OFFERED]
    )
    title = f"{name} is a package without a __main__.py, so it cannot be run"
    return Verdict("", (Finding("asgi-import-path", title, name, (), (), fixes),))


def _no_module(look: Look, name: str, missing: Missing) -> Finding | None:
    if not missing.sure or not look.search.confirm_missing(name):
        return None
    folders = list(dict.fromkeys(folders_with(name, look.cwd)))[:_MOST_OFFERED]
    if folders:
        title = f"{name.replace('.', '/')}.py is in {relation(folders[0], look.cwd)}"
        fixes = tuple(Remedy("start it there", cell("cwd", str(one)), "cell", safe=True) for one in folders)
        return Finding("wrong-cwd", title, name, (), (), fixes)
    near = similar(missing.name.rpartition(".")[2], python_files(look.cwd)) if missing.parent is None else []
    rest = name[len(missing.name) :]
    fixes = tuple(Remedy("name what is there", cell("module", one + rest), "cell") for one in near)
    argv = (look.config.python, "-m", "pip", "install", missing.name)
    if missing.parent is None:
        fixes += (Remedy("or install it", shlex.join(argv), "shell", argv, confidence=0.4),)
    title = f"there is no module {missing.name} in {look.cwd}, and none is installed"
    note = f"the backend runs with {look.config.python}"
    return Finding("asgi-import-path", title, missing.name, (), (note,), fixes)


def command(look: Look) -> Verdict:
    """Look for the program of a command, as the system will."""
    argv = look.config.target.argv
    if not argv or argv[:2] == _SHELL:
        return Verdict("a shell's command")
    program = argv[0]
    path = look.environ.get("PATH", os.environ.get("PATH", os.defpath))
    if "/" in program:
        file = look.cwd / program
        if not file.exists():
            return Verdict("", (_no_program(look, f"there is no program {file}", program, ""),))
        if file.is_dir() or not os.access(file, os.X_OK):
            fix = Remedy("make it a program", f"chmod +x {shlex.quote(str(file))}", safe=True)
            title = f"{file} is a folder" if file.is_dir() else f"{file} may not be executed"
            return Verdict(
                "", (Finding("permission", title, str(file), remedies=(fix,) if file.is_file() else ()),)
            )
        return Verdict(str(file))
    found = shutil.which(program, path=path)
    if found is not None:
        return Verdict(found)
    return Verdict("", (_no_program(look, f"there is no command {program} in PATH", program, path),))


def _programs(path: str) -> Iterator[str]:
    for folder in path.split(os.pathsep):
        if folder and os.access(folder, os.R_OK | os.X_OK) and Path(folder).is_dir():
            yield from os.listdir(folder)  # noqa: PTH208 - thousands of names


def _no_program(look: Look, title: str, program: str, path: str) -> Finding:
    """`path` is the PATH in which a program of a similar name may be, "" for none."""
    argv = look.config.target.argv
    beside = Path(look.config.python).parent / program
    if _ASSIGNMENT.match(program):
        note = "NAME=VALUE before a program is a shell's way; it belongs into [env]"
        fix = Remedy(
            "or let a shell run it", f"{cell('command', look.config.target.value)}\nshell = true", "cell"
        )
        return Finding("missing-command", title, program, (), (note,), (fix,))
    if "/" not in program and beside.is_file():
        names, why = [str(beside)], "it is beside the backend's Python"
    else:
        names, why = similar(program, sorted(set(_programs(path)))), "use this one"
    fixes = tuple(
        Remedy(why, cell("command", shlex.join([name, *argv[1:]])), "cell", confidence=0.5) for name in names
    )
    return Finding("missing-command", title, program, remedies=fixes)
