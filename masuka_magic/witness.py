"""What was seen of one start, brought together: the bootstrap's reports as events, and the evidence for a diagnosis.

An edge: it reads the run's files and the backend's folder, and returns values. Which cause they show is for
diagnosis/ to say.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from masuka_magic import events
from masuka_magic.diagnosis.masking import masked
from masuka_magic.process import reports
from masuka_magic.process.reports import read_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from masuka_magic.config.model import StartConfig
    from masuka_magic.diagnosis.evidence import Evidence, LogLine
    from masuka_magic.diagnosis.exceptions import ExceptionReport
    from masuka_magic.diagnosis.findings import Finding
    from masuka_magic.diagnosis.postgres_url import PostgresUrl
    from masuka_magic.run import Run
    from masuka_magic.state import State

#: What is read of each log's end for a diagnosis.
EVIDENCE_LINES = 2_000
EVIDENCE_BYTES = 512 * 1024
#: Folders of a project that are looked into for a module that was not found.
MOST_FOLDERS = 200


class Witness:
    """Remembers what the bootstrap reported; belongs to the supervisor's thread."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._importing_pid: int | None = None
        self._import_exception: tuple[ExceptionReport, ...] | None = None
        self._crash_exception: tuple[ExceptionReport, ...] | None = None
        self._missing: str | None = None
        self._attribute: bool | None = None
        self._candidates: tuple[str, ...] = ()
        self.stranger: str | None = None

    def read_reports(self) -> list[events.Event]:
        """Read what the bootstrap has written since the last call."""
        found = []
        for report in self._run.reports.read_new():
            event = self._take(report)
            if event is not None:
                found.append(event)
        return found

    def _take(self, report: reports.Report) -> events.Event | None:
        # The child's clock is ours, but its words are foreign: nothing happens in the future.
        at = min(report.at, time.monotonic())
        match report:
            case reports.ImportStarted(module=module):
                self._importing_pid = report.pid
                self._import_exception = self._missing = None
                return events.ImportStarted(at, module)
            case reports.ImportFinished():
                self._attribute, self._candidates = report.attribute, report.candidates
                importing = events.Importing("", report.modules, report.packages)
                return events.ImportFinished(at, report.seconds, importing)
            case reports.ImportFailed():
                self._import_exception = report.chain
                first = report.chain[0]
                text = self._run.mask(f"{first.type}: {first.message}".splitlines()[0])
                return events.ImportBroke(at, report.seconds, text)
            case reports.ImportMissing(module=module):
                self._missing = module
            case reports.Crashed():
                self._crash_exception = report.chain
        return None

    def read_progress(self) -> events.Importing | None:
        """Return what is being imported now, as far as it is known."""
        if self._importing_pid is None:
            return None
        progress = read_progress(self._run.path, self._importing_pid)
        if progress is None:
            return None
        return events.Importing(progress.now or "", progress.modules, progress.packages)

    def diagnose(self, state: State, *, still_s: float, alive: bool) -> tuple[Finding, ...]:
        """Gather the evidence and have it judged; what comes back is masked."""
        from masuka_magic.diagnosis.rules import diagnose

        return self.masked(diagnose(self.evidence(state, still_s=still_s, alive=alive)))

    def evidence(self, state: State, *, still_s: float, alive: bool) -> Evidence:
        """Bring together all that is known of a start that is not ready."""
        from masuka_magic.diagnosis.evidence import Evidence, wanted_modules
        from masuka_magic.preflight.here import this_machine

        config, run = self._run.config, self._run
        evidence = Evidence(
            target=config.target.value,
            kind=config.target.kind,
            cwd=config.cwd,
            python=config.python,
            server=config.server,
            host=config.host,
            port=run.port,
            health_path=config.health.path,
            health_status=config.health.status,
            expects=config.health.json,
            stage=_stage(state),
            was_ready=state.became_ready is not None,
            alive=alive,
            returncode=state.returncode,
            import_exception=self._import_exception,
            crash_exception=self._crash_exception,
            import_missing=self._missing,
            attribute_found=self._attribute,
            candidates=self._candidates,
            module_file=_module_file(config),
            own_modules=_own_modules(config.cwd),
            log=(*self._log("stdout"), *self._log("stderr")),
            answer=state.answer,
            answer_text=_ready_text(state),
            waiting_s=still_s,
            importing=state.importing.now,
            listener=self.stranger,
            peak_rss=state.peak_rss,
            database=_database(config),
            here=this_machine(),
        )
        wanted = wanted_modules(evidence)
        return replace(evidence, elsewhere=tuple(_elsewhere(config.cwd, wanted))) if wanted else evidence

    def masked(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Hide secrets in everything that a finding says."""
        return masked(findings, self._run.mask)

    def _log(self, stream: Literal["stdout", "stderr"]) -> Iterator[LogLine]:
        from masuka_magic.diagnosis.evidence import LogLine

        log = self._run.stdout if stream == "stdout" else self._run.stderr
        tail = log.tail(EVIDENCE_LINES, max_bytes=EVIDENCE_BYTES, numbered=True)
        first = tail.first_line_number
        for i, line in enumerate(tail.lines):
            yield LogLine(stream, None if first is None else first + i, line)


def _stage(state: State) -> str:
    """Name the stage in which the start is: the last one that has begun."""
    begun = [stage.name for stage in state.stages if stage.status not in {"wait", "skip"}]
    last = begun[-1] if begun else events.IMPORT
    return last if last in {events.IMPORT, events.SERVER, events.READY} else events.IMPORT


def _ready_text(state: State) -> str:
    stage = state.stage(events.READY)
    return state.text if stage is None or not stage.text else stage.text


def _module_file(config: StartConfig) -> str | None:
    """Find the file of the application's module in the backend's folder, relative to it."""
    if config.target.kind != "app":
        return None
    module = Path(*config.target.value.partition(":")[0].split("."))
    for path in (module.with_suffix(".py"), module / "__init__.py"):
        if (Path(config.cwd) / path).is_file():
            return str(path)
    return None


def _database(config: StartConfig) -> PostgresUrl | None:
    """Read the URL of a PostgreSQL; None for another database, and for a URL that is wrong in itself."""
    from masuka_magic.diagnosis.postgres_url import PostgresUrl, dialect_of, parse_postgres_url

    if config.database is None or dialect_of(config.database.url) not in {"postgresql", "postgres"}:
        return None
    url = parse_postgres_url(config.database.url)
    return url if isinstance(url, PostgresUrl) else None


def _own_modules(cwd: str) -> frozenset[str]:
    """Name what the backend's folder offers to import."""
    try:
        with os.scandir(cwd) as entries:
            return frozenset(
                entry.name.removesuffix(".py")
                for entry in entries
                if entry.name.endswith(".py") or (entry.name.isidentifier() and entry.is_dir())
            )
    except OSError:
        return frozenset()  # the folder is not there, which the finding says by itself


def _elsewhere(cwd: str, wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Find folders near `cwd` in which a wanted module does exist, as (module, folder)."""
    near = [Path(cwd).parent, *_folders_below(Path(cwd))]
    for module in wanted:
        parts = module.split(".")
        for folder in near:
            place = folder.joinpath(*parts)
            if place.with_suffix(".py").is_file() or (place / "__init__.py").is_file():
                yield module, str(folder)
                break


def _folders_below(folder: Path) -> Iterator[Path]:
    """List folders of the project itself, two levels deep, in no installed environment."""
    count = 0
    for path, names, _ in os.walk(folder):
        depth = len(Path(path).relative_to(folder).parts)
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".") and not (Path(path, name) / "pyvenv.cfg").exists()
        )
        if depth:
            yield Path(path)
            count += 1
        if depth >= 2 or count >= MOST_FOLDERS:  # noqa: PLR2004 - two levels
            names.clear()
