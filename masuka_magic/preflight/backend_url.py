"""Ask whether the backend can use its database URL: its own interpreter, its own packages, its own sources.

The edge that fills in what `drivers.py` judges. Nothing is imported and nothing is started.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from masuka_magic.preflight.drivers import Packages, driver_of, judge_url, judge_use
from masuka_magic.preflight.url_use import UrlUse, engine_kind, read_url_use

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig
    from masuka_magic.diagnosis.findings import Finding

#: A start whose URL is well waits no longer than this for its sources to be read.
_GLANCE_S = 0.015


class Judgement(NamedTuple):
    """A refusal, or nothing against the URL; `text` says who reads it and how."""

    finding: Finding | None
    text: str


def judge(config: StartConfig, url: str, environ: Mapping[str, str]) -> Judgement:
    """Say whether the SQLAlchemy that is installed for the backend refuses the URL, where that is certain."""
    from masuka_magic.preflight.interpreter import has_unread_hooks

    if config.target.kind == "command":  # It brings its own interpreter, if it is Python at all.
        return Judgement(None, "it can be read")
    packages = packages_of(config.python, environ)
    taken = driver_of(url, packages)
    if taken is None or has_unread_hooks(config.python):
        return Judgement(None, "it can be read")
    roots = source_roots(config)
    finding = judge_url(url, packages)
    if finding is None:
        kind = engine_kind(roots, _GLANCE_S)
        finding = None if kind is None else judge_use(url, packages, asynchronous=kind)
    if finding is not None:
        if not _gets_it_as_it_is(config, read_url_use(roots)):
            return Judgement(None, "it can be read")
        return Judgement(finding, finding.title)
    return Judgement(None, f"{packages.named} takes {taken[1]} for it" if taken[1] else "it can be read")


def packages_of(python: str, environ: Mapping[str, str]) -> Packages:
    """Describe what is installed for an interpreter; PYTHONPATH of the backend's environment counts."""
    from masuka_magic.preflight.interpreter import distributions, modules, site_packages

    installed = modules(python)
    paths = [Path(entry) for entry in environ.get("PYTHONPATH", "").split(":") if entry]

    def has_module(name: str) -> bool:
        return name in installed or any(
            (path / name).is_dir() or (path / f"{name}.py").is_file() for path in paths
        )

    said = distributions(python).get("sqlalchemy", "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", said)[:3])
    return Packages(python, numbers or None, has_module, lambda: _dialects(site_packages(python)))


def source_roots(config: StartConfig) -> tuple[str, ...]:
    """Return where the backend's own sources lie: its folder, and an installed package that is its target."""
    from masuka_magic.preflight.interpreter import modules

    roots = [config.cwd]
    if config.target.kind in {"app", "module"}:
        top = re.split(r"[.:]", config.target.value, maxsplit=1)[0]
        found = modules(config.python).get(top)
        if found is not None:
            roots.append(str(found))
    elif config.target.kind == "script":
        roots.append(str(Path(config.cwd, config.target.value).parent))
    return tuple(roots)


def _gets_it_as_it_is(config: StartConfig, use: UrlUse) -> bool:
    """Whether it is certain that SQLAlchemy gets the URL unchanged, or that there is no application at all."""
    return use.plain or (use.complete and not use.files and config.target.kind == "app")


def _dialects(folders: tuple[Path, ...]) -> frozenset[str]:
    """Read the dialects that installed distributions declare (entry points `sqlalchemy.dialects`)."""
    found: set[str] = set()
    for folder in folders:
        for path in folder.glob("*-info/entry_points.txt"):
            try:
                text = path.read_text("utf-8", "replace")
            except OSError:
                continue
            if "sqlalchemy.dialects" not in text:
                continue
            parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
            parser.optionxform = str  # type: ignore[assignment,method-assign] # names are told apart by case
            try:
                parser.read_string(text)
                found.update(parser["sqlalchemy.dialects"])
            except (configparser.Error, KeyError):
                continue
    return frozenset(found)
