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
from masuka_magic.panel.bar import Bar, bar
from masuka_magic.quantities import duration, size

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import EvidenceLine, Finding
    from masuka_magic.events import Layer, Phase, StageStatus
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
    """One stage. `duration` is empty while there is none; `final`: nothing of the row will change.

    `layers` are those of a check, each with its own verdict.
    """

    word: Word
    name: str
    text: str
    duration: str
    layers: tuple[Row, ...] = ()

    @property
    def final(self) -> bool:
        return self.word not in {"run", "wait"}


@dataclass(frozen=True, slots=True)
class PanelModel:
    """All sentences, in the order in which they are shown. Empty ones are not shown.

    `headline` and `waiting` are whole lines; `title`, `subject`, `awaited`, `usual` and `elapsed` say the same
    in pieces, for a view that sets them apart. `url` is where it answers, None before that is known. `use` is
    what the running backend takes.
    """

    phase: Phase
    headline: str
    rows: tuple[Row, ...]
    waiting: str
    outcome: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    log_tail: tuple[str, ...]
    title: str
    subject: str
    awaited: str
    usual: str
    elapsed: str
    use: str
    url: str | None
    bar: Bar


def model(state: State, now: float, redact: Callable[[str], str]) -> PanelModel:
    """Word one state. `now` is of the monotonic clock that the state's own times are of."""
    title, subject = _title(state)
    awaited, elapsed, usual = _waiting_parts(state, now)
    return PanelModel(
        phase=state.phase,
        headline=redact(_headline(state)),
        rows=tuple(_row(state, stage, now, redact) for stage in state.stages),
        waiting=redact(_waiting(state, now)),
        outcome=tuple(redact(line) for line in outcome_lines(state)),
        findings=masked(state.findings, redact),
        notes=tuple(redact(note) for note in state.notes),
        log_tail=tuple(redact(line[: 2 * _LOG_LINE_LONGEST])[:_LOG_LINE_LONGEST] for line in state.log_tail),
        title=redact(title),
        subject=redact(subject),
        awaited=redact(awaited),
        usual=usual,
        elapsed=elapsed,
        use=_use(state),
        url=state.url,
        bar=bar(state, now),
    )


def _headline(state: State) -> str:
    service = "masuka" if state.service == "backend" else f"masuka {state.service}"
    return f"{service}  {state.target} on {address(state)}"


def _title(state: State) -> tuple[str, str]:  # noqa: PLR0911 - one answer a phase
    """Say in a word or two what has come of what: `Starting`, `app.main:app on 127.0.0.1:8000`."""
    place = f"{state.target} on {address(state)}"
    subject = place if state.service == "backend" else f"{state.service}: {place}"
    answer = state.answer
    named = "" if answer is None else " ".join(part for part in (answer.name, answer.version) if part)
    match state.phase:
        case "ready":
            return named or state.target, "is ready"
        case "unhealthy":
            return named or state.target, "is no longer healthy"
        case "exited":
            return named or state.target, "has ended"
        case "stopped" if state.only_check and state.text == "checked":
            return "Checked", subject
        case "failed" if state.only_check:
            return "Would not start", subject
        case "failed":
            return ("Not started" if state.pid is None else "Did not come up"), subject
        case "stopped" if state.spawned is None:
            return "Nothing was started", subject
    words = {"new": "Checking", "checking": "Checking", "starting": "Starting", "stalled": "Not ready"}
    return words.get(state.phase, state.phase.capitalize()), subject


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
    layers = tuple(_layer(layer, redact) for layer in stage.layers)
    return Row(_WORDS[stage.status], stage.name, redact(_stage_text(state, stage)), time, layers)


def _layer(layer: Layer, redact: Callable[[str], str]) -> Row:
    time = "" if layer.status == "skip" else duration(layer.seconds)
    return Row(_WORDS[layer.status], layer.name, redact(layer.text), time)


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
    awaited, elapsed, usual = _waiting_parts(state, now)
    if not awaited:
        return ""
    return (
        ", ".join(part for part in (f"waiting for {awaited}  {elapsed}", usual) if part)
        + "  interrupt to stop"
    )


def _waiting_parts(state: State, now: float) -> tuple[str, str, str]:
    if state.phase not in {"checking", "starting"} or state.began is None:
        return "", "", ""
    elapsed_s = max(0.0, now - state.began)
    usual = ""
    if state.usual_s is not None:
        late = "late: " if elapsed_s > _LATE * state.usual_s else ""
        usual = f"{late}usually {duration(state.usual_s)}"
    return _awaited(state), duration(elapsed_s), usual


def _use(state: State) -> str:
    """Say what the starting backend takes of the machine, as of the last sample."""
    if state.phase != "starting" or not state.rss:
        return ""
    return f"memory {size(state.rss)}  cpu {state.cpu:.0%}"


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
    # The magics take the latest backend; one with a name of its own may not be the latest.
    name = "" if state.service == "backend" else f" {state.service}"
    logs = f"logs: %masuka_logs{name}"
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
                _joined("still running", *pid, logs, f"stop it: %masuka_stop{name}"),
            )
        case "failed":
            if state.only_check:
                return (f"would not start: {_refusal(state)}",)
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
        case "stopped" if state.only_check and state.text == "checked":
            return ("checked: nothing prevents a start",)
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


def is_code(line: EvidenceLine) -> bool:
    """Tell a place in a file (or the caret below it) from a log and from what a check or an answer said."""
    if line.source in {"stderr", "stdout"}:
        return False
    if not line.source or line.line_number is not None:
        return True
    return " " not in line.source and ("." in line.source or "/" in line.source)
