"""Why the application could not be imported: a module, a folder, a name in it, or its syntax."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.case import clipped, first_line
from masuka_magic.diagnosis.evidence import is_own, own_frame, own_modules, relative_path
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.diagnosis.packages import distribution

if TYPE_CHECKING:
    from masuka_magic.diagnosis.case import Case
    from masuka_magic.diagnosis.exceptions import ExceptionReport, SyntaxSpot

_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?")
#: The words of uvicorn and of gunicorn.
_NOT_LOADED = re.compile(r'Could not import module "([^"]+)"')
_NO_ATTRIBUTE = re.compile(
    r'Attribute "(?P<name>[^"]+)" not found in module "(?P<module>[^"]+)"'
    r"|Failed to find attribute '(?P<name2>[^']+)' in '(?P<module2>[^']+)'"
)
#: Modules of the standard library that are gone, and since which Python (docs.python.org, "What's New").
_REMOVED = {
    **dict.fromkeys(("asynchat", "asyncore", "distutils", "imp", "smtpd"), "3.12"),
    **dict.fromkeys(
        ("aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "nntplib", "pipes"), "3.13"
    ),
    **dict.fromkeys(("sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"), "3.13"),
}
_MOST_OFFERED = 3


def import_path(case: Case) -> Finding | None:
    """Say where the module of the target is, if not where it was looked for."""
    evidence = case.evidence
    missing = evidence.import_missing
    report = _of_the_target(case)
    said = None
    if missing is None and report is not None:
        missing = report.name
    if missing is None and not case.chain and (line := case.find(_NOT_LOADED)) is not None:
        found = _NOT_LOADED.search(line.text)
        missing = found[1] if found else None
        said = EvidenceLine(line.stream, line.number, line.text.strip())
    if missing is None:
        return None
    module = evidence.module if evidence.kind in {"app", "module"} else missing
    moved = _elsewhere(case, missing, report) or _elsewhere(case, module, report)
    if moved is not None:
        return moved
    shown_line = said or case.log_line(report)
    where = f" in {evidence.cwd}" if evidence.cwd else ""
    shown = missing if module.startswith(f"{missing}.") else module
    fix = Remedy(
        f"correct `{evidence.kind}`, or set `cwd` to the folder that holds {module.partition('.')[0]}",
        kind="cell",
    )
    return Finding(
        "asgi-import-path",
        f"there is no module {shown}{where}",
        shown,
        () if shown_line is None else (shown_line,),
        (f"{evidence.server} was told to load {evidence.target}",) if evidence.kind == "app" else (),
        (fix,),
    )


def _of_the_target(case: Case) -> ExceptionReport | None:
    """Return the exception by which the target's own module was not found: none of the user's code had
    run.
    """
    last, evidence = case.last, case.evidence
    if (
        last is None
        or last.type != "ModuleNotFoundError"
        or not last.name
        or evidence.kind not in {"app", "module"}
    ):
        return None
    ours = last.name == evidence.module or evidence.module.startswith(f"{last.name}.")
    return last if ours and own_frame(case.chain, evidence.cwd) is None else None


def attribute(case: Case) -> Finding | None:
    """Say that the module was imported and has no application of that name."""
    evidence = case.evidence
    if evidence.kind != "app":
        return None
    line = case.find(_NO_ATTRIBUTE) if not case.chain else None
    if evidence.attribute_found is not False and line is None:
        return None
    name = evidence.attribute
    where = relative_path(evidence.module_file, evidence.cwd) if evidence.module_file else evidence.module
    others = [other for other in evidence.candidates if other != name]
    title = f"`{name}` is not defined in {where}"
    if others:
        title += "; it defines " + " and ".join(f"`{other}`" for other in others[:_MOST_OFFERED])
    fixes = tuple(
        Remedy("name what it defines", f"app = {json.dumps(f'{evidence.module}:{other}')}", "cell", safe=True)
        for other in others[:_MOST_OFFERED]
    )
    if not fixes:
        fixes = (
            Remedy(f"define it there, or name in `app` what {evidence.module} does define", kind="edit"),
        )
    said = () if line is None else (EvidenceLine(line.stream, line.number, line.text.strip()),)
    return Finding("asgi-attribute", title, f"{evidence.module}:{name}", said, (), fixes)


def missing_module(case: Case) -> Finding | None:
    """Name the module that the application misses: not installed, or the project's own."""
    for report in case.by_decisiveness():
        name = _missing(report)
        if name is None:
            continue
        top = name.partition(".")[0]
        if top in own_modules(case.evidence, case.chain):
            return _elsewhere(case, name, report) or case.finding(
                "unknown", f"the project has no module {name}", name, report=report
            )
        moved = _elsewhere(case, name, report)
        if moved is not None:
            return moved
        if top in _REMOVED:
            since = _REMOVED[top]
            title = f"the module {top} is no part of Python since {since}"
            return case.finding("python-version", title, top, report=report, notes=(_for(case),))
        if name != top and not top.startswith("google"):
            # Python names the first part that is missing, so the package above it is there.
            title = f"the installed {name.rpartition('.')[0]} has no module {name}"
            return case.finding("unknown", title, name, report=report)
        return _not_installed(case, name, report)
    return None


def _missing(report: ExceptionReport) -> str | None:
    if report.type not in {"ModuleNotFoundError", "ImportError"}:
        return None
    found = _NO_MODULE.match(report.message)
    if found is None:
        return None
    return report.name or found[1]


def _not_installed(case: Case, name: str, report: ExceptionReport) -> Finding:
    wanted = None if name.startswith("_") else distribution(name)
    fixes: tuple[Remedy, ...] = ()
    notes: tuple[str, ...] = (_for(case),)
    if wanted is not None:
        brings = re.split(r"[\[<]", wanted)[0]
        if brings.lower() != name.lower():
            notes = (f"{name} comes with the distribution {brings}", *notes)
        argv = (case.evidence.python, "-m", "pip", "install", wanted)
        fixes = (Remedy("install it", shlex.join(argv), "shell", argv, safe=True, confidence=0.9),)
    title = f"the module {name} is not installed"
    return case.finding("missing-module", title, name, report=report, notes=notes, remedies=fixes)


def _for(case: Case) -> str:
    return f"the backend runs with {case.evidence.python}"


def _elsewhere(case: Case, name: str, report: ExceptionReport | None) -> Finding | None:
    """Make the finding for a module that a neighbour folder has; no index has the user's own module."""
    folders = [folder for module, folder in case.evidence.elsewhere if _same(module, name)]
    if not folders:
        return None
    target = case.evidence.kind in {"app", "module"} and _same(case.evidence.module, name)
    fixes = tuple(_look_there(folder, target=target) for folder in folders[:_MOST_OFFERED])
    title = f"the module {name} is in {folders[0]}, not in {case.evidence.cwd}"
    notes = () if target else ("Python looks for modules in the backend's folder and in PYTHONPATH",)
    return case.finding("wrong-cwd", title, name, report=report, notes=notes, remedies=fixes)


def _look_there(folder: str, *, target: bool) -> Remedy:
    """Start where the target is; for any other module let Python look in one more folder."""
    path = json.dumps(folder, ensure_ascii=False)
    if target:
        return Remedy("start it there", f"cwd = {path}", "cell", safe=True)
    return Remedy("let Python look there as well", f"[env]\nPYTHONPATH = {path}", "cell", safe=True)


def _same(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.") or name.startswith(f"{module}.")


def syntax(case: Case) -> Finding | None:
    """Point at the character where a file does not parse."""
    for report in case.by_decisiveness():
        spot = report.syntax
        if spot is None or report.type not in {"SyntaxError", "IndentationError", "TabError"}:
            continue
        file = relative_path(spot.file, case.evidence.cwd)
        said = first_line(report.message).partition(f" ({spot.file.rpartition('/')[2]}, line")[0]
        own = is_own(spot.file, case.evidence.cwd)
        title = clipped(f"{file}:{spot.line} does not parse: {said}")
        notes: tuple[str, ...] = ()
        if own and spot.text.lstrip().startswith(("!", "%")):
            notes = ("a line that begins with ! or % is a notebook's command; Python files have none",)
        if not own:
            notes = (f"it is an installed file; it may need another Python than {case.evidence.python}",)
        log = case.log_line(report)
        evidence = (*_pointed(file, spot), *(() if log is None else (log,)))
        return Finding("syntax-error", title, f"{file}:{spot.line}", evidence, notes)
    return None


def _pointed(file: str, spot: SyntaxSpot) -> tuple[EvidenceLine, ...]:
    text = spot.text.rstrip("\n")
    shown = text.strip()
    line = EvidenceLine(file, spot.line, shown)
    column = spot.offset - 1 - (len(text) - len(text.lstrip()))
    if not shown or spot.offset < 1 or not 0 <= column <= len(shown):
        return (line,)
    return (line, EvidenceLine("", None, " " * column + "^"))
