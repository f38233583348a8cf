"""What there is to see of a start: every sentence of the panel, made from a state and the time.

The text view and the widget render this model and decide nothing. Pure: no clock, no terminal, no widget.
What the model holds is masked; it may still hold control characters and markup, which each rendering makes
harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from masuka_magic.diagnosis.masking import masked
from masuka_magic.events import IMPORT, READY, SERVER
from masuka_magic.quantities import duration

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import Finding
    from masuka_magic.events import Phase, StageStatus
    from masuka_magic.state import Stage, State

Word = Literal["ok", "run", "wait", "FAIL", "warn", "skip"]
_WORDS: dict[StageStatus, Word] = {
    "ok": "ok",
    "run": "run",
    "wait": "wait",
    "bad": "FAIL",
    "warn": "warn",
    "skip": "skip",
}
#: Packages that took less are not worth naming, and a row has room for no more.
_LEAST_OWN_S = 0.05
_MOST_PACKAGES = 4
_PACKAGES_LONGEST = 52
#: A line of a log is masked from its beginning on; more than this of it is never shown.
_LOG_LINE_LONGEST = 2_000
_LATE = 1.5


@dataclass(frozen=True, slots=True)
class Row:
    """One stage. `duration` is empty while there is none; `final`: nothing of the row will change."""

    word: Word
    name: str
    text: str
    duration: str

    @property
    def final(self) -> bool:
        return self.word not in {"run", "wait"}


@dataclass(frozen=True, slots=True)
class PanelModel:
    """All sentences, in the order in which they are shown. Empty ones are not shown."""

    phase: Phase
    headline: str
    rows: tuple[Row, ...]
    waiting: str
    outcome: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    log_tail: tuple[str, ...]


def model(state: State, now: float, redact: Callable[[str], str]) -> PanelModel:
    """Word one state. `now` is of the monotonic clock that the state's own times are of."""
    return PanelModel(
        phase=state.phase,
        headline=redact(_headline(state)),
        rows=tuple(_row(state, stage, now, redact) for stage in state.stages),
        waiting=redact(_waiting(state, now)),
        outcome=tuple(redact(line) for line in outcome_lines(state)),
        findings=masked(state.findings, redact),
        notes=tuple(redact(note) for note in state.notes),
        log_tail=tuple(redact(line[: 2 * _LOG_LINE_LONGEST])[:_LOG_LINE_LONGEST] for line in state.log_tail),
    )


def _headline(state: State) -> str:
    service = "masuka" if state.service == "backend" else f"masuka {state.service}"
    return f"{service}  {state.target} on {address(state)}"


def address(state: State) -> str:
    """Write where the service listens: `127.0.0.1:8000`, `[::1]:8000`, `127.0.0.1, any free port`."""
    host = f"[{state.host}]" if ":" in state.host else state.host
    return f"{state.host}, any free port" if state.port is None else f"{host}:{state.port}"


def _row(state: State, stage: Stage, now: float, redact: Callable[[str], str]) -> Row:
    if stage.seconds is not None and stage.status != "skip":
        time = duration(stage.seconds)
    elif stage.status == "run" and stage.began is not None:
        time = duration(max(0.0, now - stage.began))
    else:
        time = ""
    return Row(_WORDS[stage.status], stage.name, redact(_stage_text(state, stage)), time)


def _stage_text(state: State, stage: Stage) -> str:
    if stage.name == IMPORT:
        return _import_text(state, stage)
    if stage.name == SERVER:
        return _server_text(state, stage)
    if stage.name == READY:
        return _ready_text(state, stage)
    if stage.text or stage.status != "run":
        return stage.text
    return "looking"


def _import_text(state: State, stage: Stage) -> str:
    if stage.status == "run":
        return f"importing {state.importing.now or _module(state)}"
    if stage.status == "bad":
        doing = f"importing {state.importing.now or _module(state)}"
        return stage.text or (
            f"stopped while {doing}" if state.phase != "stalled" else f"no movement while {doing}"
        )
    if stage.status == "ok":
        return stage.text or _packages(state)
    return stage.text


def _packages(state: State) -> str:
    """Say where the import's time went: the largest own times, the application's own last, as the rest."""
    packages = state.importing.packages
    slow = sorted(((s, name) for name, s in packages if s >= _LEAST_OWN_S), reverse=True)[:_MOST_PACKAGES]
    if not slow:
        modules = state.importing.modules
        return f"{modules:,} modules" if modules != 1 else "1 module"
    own = _module(state).partition(".")[0]
    while True:
        told = sorted(slow, key=lambda one: one[1] == own)
        text = ", ".join(f"{name} {seconds:.1f}" for seconds, name in told)
        if len(text) <= _PACKAGES_LONGEST or len(slow) == 1:
            return text
        slow.pop()


def _server_text(state: State, stage: Stage) -> str:
    if stage.text:
        return stage.text
    if stage.status == "run":
        return f"waiting until it listens on {address(state)}"
    if stage.status == "bad":
        return (
            f"never listened on {address(state)}"
            if state.phase == "stalled"
            else "stopped before it listened"
        )
    return f"listening on {address(state)}" if stage.status == "ok" else ""


def _ready_text(state: State, stage: Stage) -> str:
    asked = f"GET {state.health_path}"
    if stage.status == "ok" and state.answer is not None:
        named = " ".join(part for part in (state.answer.name, state.answer.version) if part)
        return f"{named}, {asked} answered {stage.text}" if named else f"{asked} answered {stage.text}"
    return stage.text or asked


def _module(state: State) -> str:
    return state.target.partition(":")[0]


def _waiting(state: State, now: float) -> str:
    """Say what is waited for, for how long, and how long that usually takes."""
    if state.phase not in {"checking", "starting"} or state.began is None:
        return ""
    parts = [f"waiting for {_awaited(state)}  {duration(max(0.0, now - state.began))}"]
    if state.usual_s is not None:
        longer = now - state.began > _LATE * state.usual_s
        parts.append(("late: " if longer else "") + f"usually {duration(state.usual_s)}")
    return ", ".join(parts) + "  interrupt to stop"


def _awaited(state: State) -> str:
    running = next((stage.name for stage in state.stages if stage.status == "run"), None)
    if state.phase == "checking":
        return f"the {running} check" if running else "the checks"
    if running == IMPORT:
        return f"the import of {_module(state)}"
    return "the right answer" if running == READY else "the server"


def outcome_lines(state: State) -> tuple[str, ...]:  # noqa: PLR0911 - one phase a case
    """Say what the start has come to; not masked. Empty while that is open."""
    pid = () if state.pid is None else (f"pid {state.pid}",)
    logs = "logs: %masuka_logs"
    where = () if state.url is None else (state.url,)
    match state.phase:
        case "ready":
            took = "" if state.ready_s is None else f" in {duration(state.ready_s)}"
            return (_joined(f"ready{took}", *where, *pid, logs),)
        case "unhealthy":
            return (_joined(f"no longer healthy: {state.text}", *pid, logs),)
        case "stalled":
            after = _after(state)
            return (
                f"not ready{after}: {state.text}",
                _joined("still running", *pid, logs, "stop it: %masuka_stop"),
            )
        case "failed":
            if state.pid is None:
                return (f"not started: {_refusal(state)}",)
            return (_joined(f"failed{_after(state)}: {ended(state)}", logs),)
        case "exited":
            up = (
                ""
                if state.became_ready is None
                else f" {duration(state.at - state.became_ready)} after it was ready"
            )
            return (_joined(f"ended{up}: {ended(state)}", logs),)
        case "stopping" | "stopped":
            told = state.text.startswith(state.phase)
            return (state.text if told else f"{state.phase}: {state.text}" if state.text else state.phase,)
    return ()


def _joined(*parts: str) -> str:
    return "  ".join(parts)


def _after(state: State) -> str:
    return "" if state.began is None else f" after {duration(state.at - state.began)}"


def _refusal(state: State) -> str:
    failed = [stage.name for stage in state.stages if stage.status == "bad"]
    if not failed:
        return state.text or "nothing was launched"
    which = failed[0] if len(failed) == 1 else f"{', '.join(failed[:-1])} and {failed[-1]}"
    return f"the {which} check{'s' if len(failed) > 1 else ''} failed"


def ended(state: State) -> str:
    """Say how the process ended and where that was: `exit code 1 while importing app.main`."""
    how = state.text or (f"exit code {state.returncode}" if state.returncode is not None else "it is gone")
    bad = next((stage.name for stage in state.stages if stage.status == "bad"), None)
    where = {
        IMPORT: f" while importing {_module(state)}",
        SERVER: " before it listened",
        READY: " before it answered",
    }
    return how + where.get(bad or "", "") if state.phase == "failed" else how
