"""Evidence made ready for rules: the chain that counts, the moment it happened, and where to point.

Rules ask a Case for the spot and the line of the log; they search nothing themselves. This room names no
cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from masuka_magic.diagnosis.evidence import own_frame, relative_path
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.diagnosis.traceback import HEADER, Traceback, tracebacks

if TYPE_CHECKING:
    from masuka_magic.diagnosis.evidence import Evidence, LogLine
    from masuka_magic.diagnosis.exceptions import ExceptionReport

#: When an exception was raised: while the application was imported, in its startup (lifespan), while it
#: answered a request, or wherever else the process ended.
Moment = Literal["import", "startup", "request", "run"]

_STARTUP_FAILED = ("Application startup failed. Exiting.", "Lifespan failure", "Application startup failed")
_ALARM = re.compile(
    r"\b(?:error|exception|fatal|critical|failed|failure|panic|abort(?:ed)?|killed|denied|refused|cannot"
    r"|traceback)\b",
    re.IGNORECASE,
)
_TITLE_LONGEST = 160
#: HTTP's class of faults of the server itself.
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Case:
    """One failure: its evidence, the chain that ended it (empty: none is known), and that moment.

    `lines` are the lines of the log where the exceptions of the chain are printed, in the chain's order.
    """

    evidence: Evidence
    chain: tuple[ExceptionReport, ...] = ()
    moment: Moment = "run"
    lines: tuple[LogLine | None, ...] = ()

    @property
    def last(self) -> ExceptionReport | None:
        """The exception that nobody caught, the first of the chain."""
        return self.chain[0] if self.chain else None

    def by_decisiveness(self) -> tuple[ExceptionReport, ...]:
        """Order the chain by what should name the cause.

        `raise … from …` wraps: the innermost cause speaks first. `During handling of …` often is a fallback
        that failed for its own reason: the later part speaks first.
        """
        parts: list[list[ExceptionReport]] = []
        for report in self.chain:
            if report.link != "cause" or not parts:
                parts.append([])
            parts[-1].append(report)
        return tuple(one for part in parts for report in reversed(part) for one in _with_members(report))

    def spot(self) -> EvidenceLine | None:
        """Point at the user's own line."""
        frame = own_frame(self.chain, self.evidence.cwd)
        if frame is None:
            return None
        return EvidenceLine(relative_path(frame.file, self.evidence.cwd), frame.line, frame.source)

    def log_line(self, report: ExceptionReport | None = None) -> EvidenceLine | None:
        """Point at the line of the log that has the exception's own words; without a log, quote them."""
        if report is None:
            return None
        for at, known in enumerate(self.chain):
            if known is report and at < len(self.lines) and (line := self.lines[at]) is not None:
                return _quote(line)
        first = headline(report)
        for line in reversed(self.evidence.log):
            if line.text.rstrip().endswith(first):
                return _quote(line)
        return None

    def find(self, words: re.Pattern[str] | str) -> LogLine | None:
        """Find the last line of the log with these words."""
        for line in reversed(self.evidence.log):
            if words in line.text if isinstance(words, str) else words.search(line.text):
                return line
        return None

    def decisive(self) -> tuple[EvidenceLine, ...]:
        """Quote what the log ends with: its last line, and before it the last one that speaks of a
        failure.
        """
        written = [line for line in self.evidence.log if line.text.strip()]
        errors = [line for line in written if line.stream == "stderr"] or written
        if not errors:
            return ()
        alarm = next((line for line in reversed(errors) if _ALARM.search(line.text)), None)
        chosen = [errors[-1]] if alarm is None or alarm is errors[-1] else [alarm, errors[-1]]
        return tuple(_quote(line) for line in chosen)

    def finding(  # noqa: PLR0913 - the slots of a finding
        self,
        code: str,
        title: str,
        culprit: str | None,
        *,
        report: ExceptionReport | None = None,
        notes: tuple[str, ...] = (),
        remedies: tuple[Remedy, ...] = (),
    ) -> Finding:
        """Make a finding that points at the user's line and at the words of `report` in the log."""
        evidence = tuple(line for line in (self.spot(), self.log_line(report)) if line is not None)
        return Finding(code, title, culprit, evidence, (*notes, *self.reached(report)), remedies)

    def reached(self, report: ExceptionReport | None) -> tuple[str, ...]:
        """Say as what the root cause reached the server, where another exception was made of it."""
        last = self.last
        if report is None or last is None or last is report or headline(last) == headline(report):
            return ()
        if first_line(report.message) and first_line(report.message) in last.message:
            return ()
        return (f"the application turned it into {clipped(headline(last))}",)

    def when(self) -> str:
        """Say when it happened, to stand behind a verb."""
        evidence = self.evidence
        if self.moment == "import":
            return f"while {evidence.module} was imported"
        return {
            "startup": "while the application started up",
            "request": f"while it answered GET {evidence.health_path}",
            "run": "before it was ready" if not evidence.was_ready else "after it had been ready",
        }[self.moment]


def _with_members(report: ExceptionReport) -> tuple[ExceptionReport, ...]:
    """Put the members of a group before it: the group only gathers them."""
    return (*(one for chain in report.exceptions for one in chain), report)


def make_case(evidence: Evidence) -> Case:
    """Choose the chain that ended the start: as the bootstrap saw it, else as the log tells it."""
    if evidence.import_exception:
        return Case(evidence, evidence.import_exception, "import")
    if evidence.crash_exception:
        # A server that gives up after a failed startup may do so by an exception of its own.
        told = _startup_case(evidence)
        return told or Case(evidence, evidence.crash_exception, "run")
    told = _startup_case(evidence)
    if told is not None:
        return told
    return _told_case(evidence) or Case(evidence)


def _startup_case(evidence: Evidence) -> Case | None:
    end = _last_index(evidence.log, _STARTUP_FAILED)
    if end is None:
        return None
    found = tracebacks([line for line in evidence.log[:end] if line.stream == evidence.log[end].stream])
    return _from_log(evidence, found[-1], "startup") if found else Case(evidence, (), "startup")


def _told_case(evidence: Evidence) -> Case | None:
    """Take the last traceback of the log where the log is all there is to say why.

    A process that lives has not ended by it, unless it is the 500 that it answers; one that was killed by a
    signal neither.
    """
    answer = evidence.answer
    server_error = answer is not None and (answer.status or 0) >= _SERVER_ERROR
    if evidence.alive and not server_error:
        return None
    if not evidence.alive and evidence.returncode is not None and evidence.returncode <= 0:
        return None
    if not any(HEADER in line.text or line.text.startswith('  File "') for line in evidence.log):
        return None
    found = tracebacks(evidence.log)
    if not found:
        return None
    return _from_log(evidence, found[-1], "request" if evidence.alive else _moment(evidence))


def _moment(evidence: Evidence) -> Moment:
    return "import" if evidence.stage == "import" and evidence.kind in {"app", "module"} else "run"


def _from_log(evidence: Evidence, found: Traceback, moment: Moment) -> Case:
    return Case(evidence, found.chain, moment, found.lines)


def _last_index(log: tuple[LogLine, ...], words: tuple[str, ...]) -> int | None:
    for at in range(len(log) - 1, -1, -1):
        if any(word in log[at].text for word in words):
            return at
    return None


def headline(report: ExceptionReport) -> str:
    """Write an exception as the last line of its traceback begins: without the message's further lines."""
    name = report.type if report.module in {"builtins", "__main__", ""} else f"{report.module}.{report.type}"
    said = first_line(report.message)
    return f"{name}: {said}" if said else name


def first_line(text: str) -> str:
    """Return the first line of a message that may have many."""
    return text.strip().partition("\n")[0].strip()


def clipped(text: str) -> str:
    """Cut what would be too long for a title."""
    return text if len(text) <= _TITLE_LONGEST else text[: _TITLE_LONGEST - 1].rstrip() + "…"


def _quote(line: LogLine) -> EvidenceLine:
    return EvidenceLine(line.stream, line.number, line.text.strip())
