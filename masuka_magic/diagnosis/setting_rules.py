"""Which settings the application missed: environment variables, by the words of whoever asked for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import Finding, Remedy

if TYPE_CHECKING:
    from masuka_magic.diagnosis.case import Case
    from masuka_magic.diagnosis.exceptions import ExceptionReport

_PYDANTIC = re.compile(r"\d+ validation errors? for (\w+)")
_FIELD_REQUIRED = re.compile(r"^(\w+(?:\.\w+)*)\n\s+[Ff]ield required\b", re.MULTILINE)
_SETTINGS = re.compile(r"settings|config|env", re.IGNORECASE)
#: starlette.config, environs, python-decouple, django-environ.
_WORDS = re.compile(
    r"Config '(\w+)' is missing, and has no default"
    r'|Environment variable "(\w+)" not set'
    r"|^(\w+) not found\. Declare it as envvar or define a default value"
    r"|Set the (\w+) environment variable"
)
_NAME = re.compile(r"[A-Za-z_]\w*")


def missing_env(case: Case) -> Finding | None:
    """Environment variables that the application needs are not set."""
    for report in case.by_decisiveness():
        names, by = _unset(report)
        if not names:
            continue
        if len(names) == 1:
            title = f"the environment variable {names[0]} is not set"
        else:
            title = f"{len(names)} environment variables are not set: {', '.join(names)}"
        notes = (f"the class {by} asks for {'it' if len(names) == 1 else 'them'}",) if by else ()
        fix = Remedy(
            f"give {_all(names)} a value in the notebook, and pass it on in the cell",
            "\n".join(["[env]", *(f'{name} = "${name}"' for name in names)]),
            "cell",
        )
        fixes = (fix,) if all(_NAME.fullmatch(name) for name in names) else ()
        return case.finding(
            "missing-env", title, ", ".join(names), report=report, notes=notes, remedies=fixes
        )
    return None


def _unset(report: ExceptionReport) -> tuple[tuple[str, ...], str | None]:
    """Return the names that were asked for in vain, and the settings class that asked, if any."""
    if report.type == "KeyError" and _asked_environ(report):
        name = report.message.strip("'\"")
        return ((name,), None) if name else ((), None)
    if report.type == "ValidationError" and (model := _PYDANTIC.match(report.message)) is not None:
        from_settings = any("settings" in frame.file.rpartition("/")[2] for frame in report.frames)
        if from_settings or _SETTINGS.search(model[1]):
            return tuple(dict.fromkeys(_FIELD_REQUIRED.findall(report.message))), model[1]
    if (said := _WORDS.search(report.message)) is not None:
        return tuple(name for name in said.groups() if name), None
    return (), None


def _asked_environ(report: ExceptionReport) -> bool:
    if not report.frames:
        return False
    last = report.frames[-1]
    if last.function == "__getitem__" and last.file in {"<frozen os>", "os.py"}:
        return True
    return (last.function == "__getitem__" and last.file.endswith("/os.py")) or "environ[" in last.source


def _all(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
