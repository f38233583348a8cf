"""Check what is to be started, by reading alone: interpreter, folder, server, module, attribute, syntax.

Only what is certain fails: whatever might be provided while the application is imported passes, with what is
known. Nothing of the user's is imported or executed. This module knows the order; `target` reads an
application, `programs` the other kinds.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.preflight import interpreter
from masuka_magic.preflight.check import CheckContext, CheckLayer, CheckResult
from masuka_magic.preflight.look import Look, Verdict
from masuka_magic.preflight.neighbours import env_file_near, folders_below, holds, nearest_parent, similar
from masuka_magic.preflight.programs import command, module, script
from masuka_magic.preflight.search import Missing, search_of
from masuka_magic.preflight.shadowing import shadowing
from masuka_magic.preflight.target import application

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig

_OLDEST = (3, 8)


class ApplicationCheck:
    """Read once what the backend will import, and say what cannot come up."""

    name = "application"
    requires: tuple[str, ...] = ()

    def run(self, context: CheckContext) -> CheckResult:
        config = context.config
        watched = config.target.kind != "command"
        failed = (_interpreter(config) if watched else None) or _folder(config)
        if failed is not None:
            return _result([failed], (), "")
        look = Look(
            config, context.environ, search_of(config, context.environ), _version(config.python, watched)
        )
        reader = {"app": application, "script": script, "module": module, "command": command}[
            config.target.kind
        ]
        read = reader(look)
        # A reloader lives on after a broken import, so that the file can be mended while it runs.
        reloads = config.target.kind == "app" and any(word.startswith("--reload") for word in config.args)
        findings = [] if reloads else list(read.failed)
        if not findings and config.target.kind == "app":
            findings += _server(look)
        said = [read.text]
        if config.target.kind == "app":
            said.append(_server_text(look))
        doubts = (*read.failed, *read.warned) if reloads else read.warned
        warned = [] if findings else [*doubts, *_advice(look, read)]
        return _result(findings, warned, ", ".join(part for part in said if part))


def _result(failed: list[Finding], warned: list[Finding] | tuple[Finding, ...], text: str) -> CheckResult:
    if failed:
        return CheckResult("fail", failed[0].title, failed[0])
    if not warned:
        return CheckResult("pass", text)
    layers = tuple(CheckLayer(finding.code, "warn", finding.title) for finding in warned)
    return CheckResult("warn", "; ".join(finding.title for finding in warned), warned[0], layers=layers)


def _version(python: str, watched: bool) -> tuple[int, int] | None:  # noqa: FBT001 - a command has no Python of ours
    said = interpreter.layout(python).version if watched else None
    if said is None:
        return None
    major, minor = said.split(".")[:2]
    return int(major), int(minor)


def _interpreter(config: StartConfig) -> Finding | None:
    path = Path(config.python)
    own = Remedy(
        "use the kernel's own, in the cell", f"python = {json.dumps(sys.executable)}", "cell", safe=True
    )
    if not path.exists():
        notes = (f"{path} is a link to {path.readlink()}",) if path.is_symlink() else ()
        title = f"there is no Python at {config.python}"
        return Finding("wrong-interpreter", title, config.python, (), notes, (own,))
    if path.is_dir() or not os.access(path, os.X_OK):
        what = "a folder" if path.is_dir() else "not executable"
        inside = next((path / name for name in ("bin/python", "python") if (path / name).is_file()), None)
        there = (
            ()
            if inside is None
            else (Remedy("name the program in it", f"python = {json.dumps(str(inside))}", "cell"),)
        )
        return Finding(
            "wrong-interpreter",
            f"{config.python} is {what}, no Python",
            config.python,
            remedies=(*there, own),
        )
    version = _version(config.python, watched=True)
    if version is not None and version < _OLDEST:
        shown = ".".join(map(str, version))
        title = f"{config.python} is Python {shown}; backends are started from Python 3.8 on"
        return Finding("python-version", title, config.python, remedies=(own,))
    return None


def _folder(config: StartConfig) -> Finding | None:
    cwd = Path(config.cwd)
    if cwd.is_dir():
        if os.access(cwd, os.R_OK | os.X_OK):
            return None
        return Finding("permission", f"the folder {cwd} may not be read and entered", str(cwd))
    if cwd.exists():
        fix = Remedy("name its folder", f"cwd = {json.dumps(str(cwd.parent))}", "cell")
        return Finding("missing-path", f"{cwd} is a file, not a folder", str(cwd), remedies=(fix,))
    parent = nearest_parent(cwd)
    missing = cwd.relative_to(parent).parts[0]
    here = [folder.name for folder in folders_below(parent, depth=1)]
    likely = [parent / name / cwd.relative_to(parent / missing) for name in similar(missing, here)]
    likely += [folder for folder in folders_below(parent, depth=2) if folder.name == cwd.name]
    if config.target.kind in {"app", "module"}:
        wanted, kernel = config.target.value.partition(":")[0], Path.cwd()
        likely += [folder for folder in (kernel, *folders_below(kernel, depth=2)) if holds(wanted, folder)]
    there = list(dict.fromkeys(folder for folder in likely if folder.is_dir()))[:3]
    fixes = tuple(
        Remedy("start it there", f"cwd = {json.dumps(str(folder))}", "cell", safe=True) for folder in there
    )
    fixes = fixes or (Remedy("set `cwd` to the folder that holds the application", kind="cell"),)
    note = f"{parent} is there; it has no {missing}"
    return Finding("missing-path", f"there is no folder {cwd}", str(cwd), (), (note,), fixes)


def _server(look: Look) -> list[Finding]:
    """Say that the server is not installed where the backend runs."""
    name = look.config.server
    if not isinstance(look.search.find(name), Missing) or not look.search.confirm_missing(name):
        return []
    argv = (look.config.python, "-m", "pip", "install", name)
    notes = [f"the backend runs with {look.config.python}"]
    if look.config.python != sys.executable and name in (own := interpreter.distributions(sys.executable)):
        notes.append(f"the kernel's own Python, {sys.executable}, has {name} {own[name]}")
    fix = Remedy("install it", shlex.join(argv), "shell", argv, safe=True, confidence=0.9)
    return [Finding("missing-module", f"the module {name} is not installed", name, (), tuple(notes), (fix,))]


def _server_text(look: Look) -> str:
    version = interpreter.distributions(look.config.python).get(look.config.server)
    return look.config.server if version is None else f"{look.config.server} {version}"


def _advice(look: Look, read: Verdict) -> list[Finding]:
    """Say what may break the start, or may be meant otherwise."""
    if look.config.target.kind == "command":
        return []
    root = look.search.own[0]
    found = list(shadowing(root, look.config.python, read.sources, read.top))
    return [*found, *_env_file(look, read)]


def _env_file(look: Look, read: Verdict) -> list[Finding]:
    """Say that a `.env` which the application asks for is not where it will look."""
    cwd = Path(look.config.cwd)
    package = next((source.path.parent for source in read.sources), cwd)
    near = None if look.config.env_file else env_file_near(cwd, package)
    asks = [source for source in read.sources if '".env"' in source.text or "'.env'" in source.text]
    if near is None or not asks or any("find_dotenv" in source.text for source in asks):
        return []
    name = os.path.relpath(asks[0].path, cwd)
    given = f"env_file = {json.dumps(str(near))}"
    fix = Remedy("give it to the backend, in the cell", given, "cell", safe=True)
    note = f"{name} asks for .env, which is looked for in {cwd}"
    return [
        Finding("missing-path", f".env is in {near.parent}, not in {cwd}", str(near), (), (note,), (fix,))
    ]
