"""What one start has come to: the one fold that turns events into a state.

The views show states, and nothing else decides. `advance(state, event)` is pure: no time, no file, no process.
Which phase follows which is one table, `TRANSITIONS`; an event that stands in no row of the present phase updates
what is known and leaves the phase alone (a late report after an exit changes no verdict).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from masuka_magic.events import (
    IMPORT,
    READY,
    SERVER,
    Answer,
    BecameReady,
    BecameUnhealthy,
    Begun,
    CheckFinished,
    CheckProgressed,
    CheckStarted,
    Event,
    Exited,
    ImportBroke,
    ImportFinished,
    Importing,
    ImportProgressed,
    ImportStarted,
    Layer,
    LogGrew,
    Noted,
    Phase,
    PortChosen,
    Probed,
    Refused,
    Sampled,
    Spawned,
    StageStatus,
    Stalled,
    Stopped,
    Stopping,
)

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import Finding

#: Phases in which a waiting cell has its answer.
SETTLED: frozenset[Phase] = frozenset({"ready", "stalled", "failed", "stopped", "exited"})
#: Phases after which nothing of the run is alive any more.
OVER: frozenset[Phase] = frozenset({"failed", "stopped", "exited"})


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the way up. `began` is monotonic, `seconds` its duration once it is over."""

    name: str
    status: StageStatus = "wait"
    text: str = ""
    began: float | None = None
    seconds: float | None = None
    layers: tuple[Layer, ...] = ()


_NOTHING_YET = Importing()


@dataclass(frozen=True, slots=True)
class State:
    """All that is known about one start of one service. Views take this and nothing else."""

    service: str
    target: str
    host: str
    port: int | None
    url: str | None = None
    phase: Phase = "new"
    only_check: bool = False
    health_path: str = "/health"
    began: float | None = None
    at: float = 0.0
    spawned: float | None = None
    usual_s: float | None = None
    stages: tuple[Stage, ...] = ()
    pid: int | None = None
    importing: Importing = _NOTHING_YET
    log_size: int = 0
    log_tail: tuple[str, ...] = ()
    rss: int = 0
    peak_rss: int = 0
    cpu: float = 0.0
    answer: Answer | None = None
    returncode: int | None = None
    text: str = ""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    preflight_s: float | None = None
    import_s: float | None = None
    ready_s: float | None = None
    became_ready: float | None = None

    @property
    def settled(self) -> bool:
        """Whether a waiting cell has its answer."""
        return self.phase in SETTLED

    @property
    def timings(self) -> dict[str, float]:
        """Seconds of what is over, by name; `ready` counts from the beginning of the start."""
        known = {"preflight": self.preflight_s, "import": self.import_s, "ready": self.ready_s}
        return {name: seconds for name, seconds in known.items() if seconds is not None}

    def stage(self, name: str) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)


#: (present phase, event) -> next phase. The diagram in docs/ is drawn from this table.
TRANSITIONS: dict[tuple[Phase, type[Event]], Phase] = {
    ("new", Begun): "checking",
    ("checking", Refused): "failed",
    ("checking", Spawned): "starting",
    ("checking", Stopping): "stopping",
    ("starting", BecameReady): "ready",
    ("starting", Stalled): "stalled",
    ("starting", Exited): "failed",
    ("starting", Stopping): "stopping",
    ("stalled", BecameReady): "ready",
    ("stalled", Exited): "failed",
    ("stalled", Stopping): "stopping",
    ("ready", BecameUnhealthy): "unhealthy",
    ("ready", Exited): "exited",
    ("ready", Stopping): "stopping",
    ("unhealthy", BecameReady): "ready",
    ("unhealthy", Exited): "exited",
    ("unhealthy", Stopping): "stopping",
    ("stopping", Stopped): "stopped",
}


def advance(state: State, event: Event) -> State:
    """Fold one event into the state. Pure, and total: every event is accepted in every phase."""
    phase = TRANSITIONS.get((state.phase, type(event)), state.phase)
    known = _learn(state, event)
    known = replace(known, at=max(state.at, event.at), phase=phase)
    return _close_open_stages(known, event.at) if phase != state.phase and phase in SETTLED else known


def _learn(state: State, event: Event) -> State:  # noqa: PLR0911, PLR0912, C901 - one case an event, no case decides
    match event:
        case Begun(at, stages, usual_s, only_check):
            named = tuple(Stage(name) for name in stages)
            return replace(state, began=at, usual_s=usual_s, stages=named, only_check=only_check)
        case CheckStarted(at, check):
            return _set(state, check, status="run", began=at)
        case CheckProgressed(_, check, text):
            return _set(state, check, text=text)
        case CheckFinished(at, check, status, text, seconds, layers):
            checked = _set(state, check, status=status, text=text, seconds=seconds, layers=layers)
            # What only advises may finish after the spawn, which did not wait for it.
            return (
                checked if state.phase != "checking" else replace(checked, preflight_s=at - _begin(state, at))
            )
        case PortChosen(_, port, url):
            return replace(state, port=port, url=url)
        case Refused(_, findings):
            return replace(state, findings=findings, text="nothing was started")
        case Spawned(at, pid):
            begun = replace(state, pid=pid, spawned=at)
            first = IMPORT if state.stage(IMPORT) else SERVER
            return _set(begun, first, status="run", began=at)
        case ImportStarted(at, _):
            stage = state.stage(IMPORT)
            if stage is not None and stage.status == "run":
                return state
            # A reloader imports again: the stage begins anew, whatever became of the last time.
            return _set(state, IMPORT, status="run", began=at, seconds=None, text="")
        case ImportProgressed(_, importing):
            return replace(state, importing=importing)
        case ImportFinished(at, seconds, importing):
            done = replace(state, importing=importing, import_s=seconds)
            done = _set(done, IMPORT, status="ok", seconds=seconds, text="")
            server = done.stage(SERVER)
            if server is None or server.status != "wait":
                return done
            return _set(done, SERVER, status="run", began=at)
        case ImportBroke(_, seconds, text):
            return _set(state, IMPORT, status="bad", seconds=seconds, text=text)
        case LogGrew(_, size, tail):
            return replace(state, log_size=size, log_tail=tail)
        case Sampled(_, rss, cpu):
            return replace(state, rss=rss, cpu=cpu, peak_rss=max(state.peak_rss, rss))
        case Probed(at, answer, text):
            return _answered(state, at, answer, text)
        case BecameReady(at, answer, note):
            return _ready(state, at, answer, note)
        case BecameUnhealthy(_, answer, text):
            return replace(state, answer=answer, text=text)
        case Stalled(_, text, findings):
            return replace(state, text=text, findings=findings)
        case Exited(_, returncode, text, findings):
            return replace(state, returncode=returncode, text=text, findings=findings)
        case Stopping(_, text):
            return replace(state, text=text)
        case Stopped(_, text, returncode):
            return replace(
                state, text=text, returncode=state.returncode if returncode is None else returncode
            )
        case Noted(_, text):
            return replace(state, notes=(*state.notes, text))
    return state


def _begin(state: State, at: float) -> float:
    return at if state.began is None else state.began


def _answered(state: State, at: float, answer: Answer, text: str) -> State:
    known = replace(state, answer=answer)
    if not answer.listening:
        return known
    known = _listens(known, at)
    ready = known.stage(READY)
    began = at if ready is None or ready.began is None else ready.began
    return _set(known, READY, status="run", began=began, text=text)


def _listens(state: State, at: float) -> State:
    """Close the import and server stages: whoever answers has imported its application."""
    known = state
    for name in (IMPORT, SERVER):
        stage = known.stage(name)
        if stage is not None and stage.status in {"wait", "run"}:
            seconds = None if stage.began is None else at - stage.began
            text = f"listening on {state.host}:{state.port}" if name == SERVER else stage.text
            known = _set(known, name, status="ok", seconds=seconds, text=text)
    return known


def _ready(state: State, at: float, answer: Answer, note: str | None) -> State:
    known = _listens(replace(state, answer=answer, findings=(), text=""), at)
    if state.phase in {"starting", "stalled"}:
        known = replace(known, ready_s=at - _begin(state, at), became_ready=at)
    known = _set(known, READY, status="ok", seconds=answer.seconds, text=f"{answer.status}")
    return known if note is None or note in known.notes else replace(known, notes=(*known.notes, note))


def _close_open_stages(state: State, at: float) -> State:
    """When the start ends otherwise than ready, the running stage is where it ended."""
    if state.phase == "ready":
        return state
    closed = tuple(
        replace(stage, status="bad", seconds=None if stage.began is None else at - stage.began)
        if stage.status == "run"
        else stage
        for stage in state.stages
    )
    return replace(state, stages=closed)


def _set(state: State, name: str, **changes: object) -> State:
    stages = tuple(
        replace(stage, **changes) if stage.name == name else stage  # type: ignore[arg-type]  # names are Stage's
        for stage in state.stages
    )
    return replace(state, stages=stages)
