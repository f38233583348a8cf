"""Why a process that lives is not ready: what it answers, who answers in its place, what it waits for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from masuka_magic.diagnosis.case import Case, clipped, headline
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.quantities import duration

if TYPE_CHECKING:
    from masuka_magic.events import Answer

_SHOWN_OF_A_BODY = 200
#: What a status says of the path that was asked, and what another path has to be.
_MEANINGS = {
    401: ("this path wants a login", "asks for no login"),
    403: ("this path wants a login", "asks for no login"),
    404: ("it has no such path", "the application has"),
    405: ("this path takes no GET", "takes GET"),
}
_LOGS = Remedy("see what it writes", "%masuka_logs --follow", "cell", safe=True)


def wrong_app(case: Case) -> Finding | None:
    """Say that another process answers where the backend should."""
    evidence, answer = case.evidence, case.evidence.answer
    if not evidence.alive or evidence.listener is None or answer is None or answer.status is None:
        return None
    title = f"{evidence.listener} answers at {place(evidence.host, evidence.port)}, not the backend"
    named = " ".join(part for part in (answer.name, answer.version) if part)
    notes = (f"it calls itself {named}",) if named else ()
    fix = Remedy("let a free port be picked", 'port = "auto"', "cell", safe=True)
    return Finding("wrong-app", title, evidence.listener, _body(case, answer), notes, (fix,))


def health_endpoint(case: Case) -> Finding | None:
    """Say that the backend is up and answers, but not what was asked for."""
    evidence, answer = case.evidence, case.evidence.answer
    if not evidence.alive or answer is None or answer.status is None:
        return None
    asked = f"GET {evidence.health_path}"
    if answer.status == evidence.health_status:
        if evidence.expects is None:
            return None
        title = evidence.answer_text or f"{asked} answered {answer.status} without what `health.json` expects"
        fix = Remedy("correct `health.json`, or wait until the backend says so", kind="cell")
        return Finding(
            "health-endpoint", clipped(title), evidence.health_path, _body(case, answer), (), (fix,)
        )
    title = f"{asked} answered {answer.status}, not {evidence.health_status}"
    if answer.location:
        title = f"{asked} answered {answer.status}, a redirect to {answer.location}"
    notes, fixes = _by_status(case, answer)
    if case.chain and case.moment == "request" and case.last is not None:
        last = case.last
        pointed = case.finding("health-endpoint", clipped(title), evidence.health_path, report=last)
        raised = f"the application raised {clipped(headline(last))}"
        return Finding(
            pointed.code, pointed.title, pointed.culprit, pointed.evidence, (raised, *pointed.notes), fixes
        )
    return Finding("health-endpoint", clipped(title), evidence.health_path, _body(case, answer), notes, fixes)


def _by_status(case: Case, answer: Answer) -> tuple[tuple[str, ...], tuple[Remedy, ...]]:
    """Say what an answer means, and which setting changes what is asked for."""
    evidence = case.evidence
    status = answer.status or 0
    path = json.dumps(evidence.health_path, ensure_ascii=False)
    accept = Remedy(
        "take this answer for ready", f"health = {{ path = {path}, status = {status} }}", "cell", safe=True
    )
    up = "the backend is up and answers"
    if answer.location:
        target = urlsplit(answer.location)
        here = not target.netloc or target.port == evidence.port
        moved = target.path if here and target.path and target.path != evidence.health_path else None
        if moved:
            command = f"health = {json.dumps(moved, ensure_ascii=False)}"
            return (up,), (Remedy("ask where it points", command, "cell", safe=True), accept)
        return (up,), (accept,)
    if status >= 500:  # noqa: PLR2004 - HTTP
        return ("the backend is up; the fault is in what the path needs",), (_LOGS,)
    if status in _MEANINGS:
        means, wanted = _MEANINGS[status]
        return (f"{up}; {means}",), (
            Remedy(f"set `health` to a path that {wanted}", kind="cell"),
            accept,
        )
    return (up,), (accept,)


def _body(case: Case, answer: Answer) -> tuple[EvidenceLine, ...]:
    words = " ".join(answer.body[: 4 * _SHOWN_OF_A_BODY].split())[:_SHOWN_OF_A_BODY]
    return (EvidenceLine(f"GET {case.evidence.health_path}", None, words),) if words else ()


def stalled(case: Case) -> Finding | None:
    """Say what is waited for, and for how long, where nothing moves."""
    evidence = case.evidence
    if not evidence.alive or case.chain:
        return None
    time = duration(evidence.waiting_s)
    culprit: str | None = evidence.importing or evidence.target
    where = place(evidence.host, evidence.port)
    if evidence.stage == "import":
        at = f", at the package {evidence.importing}" if evidence.importing else ""
        title = f"the import of {evidence.module} has not moved for {time}{at}"
    elif evidence.answer is not None and evidence.answer.listening:
        title = f"{where} listens, but has not answered GET {evidence.health_path} for {time}"
        culprit = evidence.health_path
    else:
        title = f"{where} was not opened: nothing has moved for {time}"
        culprit = where
    notes = _waiting_notes(case)
    longer = Remedy(
        "give it longer, if it is slow and not stuck",
        f"stall = {_longer(evidence.waiting_s)}",
        "cell",
        safe=True,
    )
    return Finding("stalled", title, culprit, case.decisive(), notes, (_LOGS, longer))


def _waiting_notes(case: Case) -> tuple[str, ...]:
    if case.evidence.stage == "import":
        return ()
    last = next((line.text for line in reversed(case.evidence.log) if line.text.strip()), "")
    if "Waiting for application startup." in last:
        return ("the application was imported; its startup (lifespan) has begun and not ended",)
    return ("the application was imported",) if case.evidence.kind == "app" else ()


def _longer(seconds: float) -> int:
    return max(60, (round(3 * seconds) + 59) // 60 * 60)


def place(host: str, port: int | None) -> str:
    """Write an address as one does in a URL, without a scheme."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"
