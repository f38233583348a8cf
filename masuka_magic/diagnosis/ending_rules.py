"""Why the process ended, where no rule about its exception knew: the port, a signal, exit 0, the startup."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.case import Case, clipped, first_line, headline
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.quantities import size

if TYPE_CHECKING:
    from masuka_magic.diagnosis.exceptions import ExceptionReport

_IN_USE = re.compile(r"\[Errno (?:98|48)\]|address already in use|Connection in use:", re.IGNORECASE)
_ADDRESS_PORT = re.compile(r"\('[^']*', (\d+)|:(\d{2,5})\b")
_EADDRINUSE = frozenset({98, 48})
#: Linux's numbers (signal(7)); macOS has the same but for SIGBUS, which is 10 there.
_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}
_SHELL_SIGNALS = range(129, 129 + 64)
_FATAL = re.compile(r"Fatal Python error: |^Killed$|\bSegmentation fault\b")


def port_in_use(case: Case) -> Finding | None:
    """Say that the server could not bind: another process has the port."""
    evidence = case.evidence
    report = next((one for one in case.by_decisiveness() if _refused_port(one)), None)
    said = case.log_line(report)
    if report is None:
        if evidence.alive or evidence.import_exception or evidence.returncode == 0:
            return None
        line = case.find(_IN_USE)
        if line is None:
            return None
        said = EvidenceLine(line.stream, line.number, line.text.strip())
    words = said.text if said is not None else report.message if report is not None else ""
    found = _ADDRESS_PORT.search(words)
    port = int(found[1] or found[2]) if found else evidence.port
    ours = port == evidence.port
    owner = f" by {evidence.listener}" if ours and evidence.listener else ""
    fixes = (Remedy("let a free port be picked", 'port = "auto"', "cell", safe=True),) if ours else ()
    notes = () if ours else (f"the backend's own port is {evidence.port}; the application asked for {port}",)
    spot = case.spot()
    return Finding(
        "port-in-use",
        f"port {port} is already in use{owner}",
        f"port {port}",
        tuple(line for line in (spot, said) if line is not None),
        notes,
        fixes,
    )


def _refused_port(report: ExceptionReport) -> bool:
    return report.type in {"OSError", "RuntimeError"} and (
        report.errno in _EADDRINUSE or _IN_USE.search(report.message) is not None
    )


def signalled(case: Case) -> Finding | None:
    """Name the signal that ended the process; memory is to blame only when the kernel says so."""
    name = signal_name(case.evidence.returncode)
    if name is None or case.chain:
        return None
    evidence = case.evidence
    peak = (f"it had used up to {size(evidence.peak_rss)} of memory",) if evidence.peak_rss else ()
    if name == "SIGKILL" and evidence.oom:
        title = f"memory ran out: the kernel killed the backend (SIGKILL) {_where(case)}"
        return Finding("oom-kill", title, "memory", case.decisive(), (evidence.oom, *peak))
    fatal = case.find(_FATAL)
    shown = (
        case.decisive() if fatal is None else (EvidenceLine(fatal.stream, fatal.number, fatal.text.strip()),)
    )
    if name in {"SIGTERM", "SIGINT", "SIGHUP"}:
        title = f"the backend was stopped by {name} {_where(case)}"
        notes: tuple[str, ...] = ("the signal came from outside the backend",)
    elif name == "SIGKILL":
        title = f"the backend was killed by SIGKILL {_where(case)}"
        notes = ("nothing shows who sent it; the kernel does when memory runs out, and leaves no traceback",)
    else:
        title = f"the backend crashed with {name} {_where(case)}"
        notes = ("native code ended the process, so there is no Python traceback",)
    if evidence.importing and evidence.stage == "import":
        notes = (*notes, f"{evidence.importing} was being imported")
    return Finding("unknown", title, name, shown, (*notes, *peak))


def _where(case: Case) -> str:
    if case.evidence.was_ready:
        return "after it had been ready"
    if case.evidence.stage == "import" and case.evidence.kind == "app":
        return f"while {case.evidence.module} was imported"
    return "before it was ready"


def signal_name(returncode: int | None) -> str | None:
    """Name the signal that ended a process, also as a shell passes it on (128 + number); None: none did."""
    if returncode is None:
        return None
    number = -returncode if returncode < 0 else returncode - 128 if returncode in _SHELL_SIGNALS else 0
    return _SIGNALS.get(number, f"signal {number}" if returncode < 0 else None)


def lifespan(case: Case) -> Finding | None:
    """Tell what the startup raised, which is all that is known."""
    if case.moment != "startup":
        return None
    last = case.last
    if last is None:
        return Finding(
            "lifespan", "the application's startup failed without saying why", None, case.decisive()
        )
    title = clipped(f"the application's startup raised {headline(last)}")
    notes = _causes(case)
    return case.finding("lifespan", title, last.type, report=last, notes=notes)


def exit_zero(case: Case) -> Finding | None:
    """Say that the process ended well, which a backend should not."""
    evidence = case.evidence
    left = case.last
    by_exit = left is not None and left.type == "SystemExit" and left.message.strip() in {"", "0", "None"}
    if evidence.alive or not (by_exit or (evidence.returncode == 0 and not case.chain)):
        return None
    title = f"the backend ended by itself with exit code 0 {_where(case)}"
    what = {
        "app": f"{evidence.server} ended without an error",
        "script": f"{evidence.target} ran to its end; a backend has to keep serving",
        "module": f"{evidence.target} ran to its end; a backend has to keep serving",
        "command": "the command came to its end; a program that goes into the background looks like this",
    }[evidence.kind]
    if evidence.stage == "import" and evidence.kind == "app":
        what = "the process ended in the middle of the import, without an error"
    notes = ("sys.exit was called",) if by_exit else (what,)
    spot = case.spot()
    return Finding("exit-zero", title, evidence.target, (*((spot,) if spot else ()), *case.decisive()), notes)


def unknown(case: Case) -> Finding:
    """Tell the exception that ended it, or how it ended, and nothing more."""
    evidence, last = case.evidence, case.last
    if last is None:
        code = evidence.returncode
        how = "ended" if code is None else f"exited with code {code}"
        title = f"the backend {how} {_where(case)}"
        silent = () if evidence.log else ("it wrote nothing",)
        return Finding("unknown", title, None, case.decisive(), silent)
    imported = case.moment == "import"
    who = evidence.module if imported else "the backend"
    when = "while it was imported" if imported else case.when()
    if last.type == "SystemExit":
        said = first_line(last.message)
        title = f"{who} called sys.exit({said if said.isdigit() else repr(said)}) {when}"
    else:
        said = f": {first_line(last.message)}" if first_line(last.message) else ""
        name = headline(last).partition(":")[0]
        title = clipped(f"{who} raised {name} {when}{said}")
    notes = _causes(case)
    if evidence.alive and case.moment == "import":
        notes = (*notes, "the server lives on and imports again when a file changes")
    return case.finding("unknown", title, last.type, report=last, notes=notes)


def _causes(case: Case) -> tuple[str, ...]:
    """Name what the last exception was made of: only `from` says so."""
    found: list[str] = []
    for effect, cause in pairwise(case.chain):
        if cause.link != "cause":
            break
        if first_line(cause.message) not in effect.message or not cause.message:
            found.append(f"caused by {clipped(headline(cause))}")
    return tuple(found)
