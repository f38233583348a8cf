"""Where PostgreSQL's words stand in an exception or a log: found here, read by postgres.py."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import EvidenceLine, Finding

if TYPE_CHECKING:
    from masuka_magic.diagnosis.case import Case
    from masuka_magic.diagnosis.exceptions import ExceptionReport

_DRIVERS = ("psycopg2", "psycopg", "asyncpg", "pg8000")
_WORDS = re.compile(
    r"connection to server (?:at|on)|could not connect to server|could not translate host name|fe_sendauth"
    r"|FATAL:\s+(?:password|role|database|no pg_hba|sorry|Peer|Ident|remaining|the database|pg_hba)"
)
#: A message has its hint on the lines below it.
_LINES_OF_A_MESSAGE = 4
#: What a process that lives wrote last is what it waits for; older lines may be healed.
_LAST_LINES = 5


def postgres(case: Case) -> Finding | None:
    """Tell why the application could not use its database."""
    for report in case.by_decisiveness():
        if _is_postgres(report):
            finding = _read(case, report.message)
            if finding is not None:
                pointed = case.finding(finding.code, finding.title, finding.culprit, report=report)
                return replace(
                    finding,
                    evidence=pointed.evidence or finding.evidence,
                    notes=(*finding.notes, *_consequence(case)),
                )
    return None if case.chain else _from_log(case)


def _is_postgres(report: ExceptionReport) -> bool:
    if report.module.partition(".")[0] in _DRIVERS or _WORDS.search(report.message):
        return True
    if report.module.startswith("sqlalchemy"):
        return any(f"({driver}." in report.message for driver in _DRIVERS)
    return any(f"/{driver}/" in frame.file for frame in report.frames[-6:] for driver in _DRIVERS)


def _read(case: Case, message: str) -> Finding | None:
    from masuka_magic.diagnosis.postgres import diagnose_postgres

    return diagnose_postgres(message, url_parts=case.evidence.database, here=case.evidence.here)


def _from_log(case: Case) -> Finding | None:
    """Read the words of a log without a traceback: of a process that failed, or that keeps trying."""
    evidence = case.evidence
    if not evidence.alive and evidence.returncode == 0:
        return None
    log = evidence.log[-_LAST_LINES:] if evidence.alive else evidence.log
    for at in range(len(log) - 1, -1, -1):
        if _WORDS.search(log[at].text):
            message = "\n".join(line.text for line in log[at : at + _LINES_OF_A_MESSAGE])
            finding = _read(case, message)
            if finding is None:
                return None
            said = EvidenceLine(log[at].stream, log[at].number, log[at].text.strip())
            tries = ("the backend lives on and has not come further",) if evidence.alive else ()
            return replace(finding, evidence=(said,), notes=(*finding.notes, *tries))
    return None


def _consequence(case: Case) -> tuple[str, ...]:
    return {
        "import": ("the app connects while it is imported, so it stopped before opening its port",),
        "startup": ("the app connects while it starts up, so it stopped before opening its port",),
        "request": (f"GET {case.evidence.health_path} needs the database, so the backend is not ready",),
        "run": (),
    }[case.moment]
