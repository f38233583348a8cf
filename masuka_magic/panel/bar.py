"""The one bar that tells the time: progress while a start runs, afterwards the story of where the time went.

Pure: seconds in, shares out. Knows neither colours nor markup; the names of packages are foreign text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from masuka_magic.events import IMPORT, READY, SERVER

if TYPE_CHECKING:
    from masuka_magic.state import Stage, State

Kind = Literal["ok", "run", "bad", "rest"]

#: What took less is not worth a name; it stays in the segment of the whole.
_LEAST_S = 0.05
_MOST_PACKAGES = 4
#: A start that takes longer than usual is nearly done for as long as it takes.
_NEARLY = 0.97


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time. `label` is empty for what needs no name."""

    kind: Kind
    seconds: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """Segments in their order. `percent` is None when nothing is measured yet, or nothing runs any more."""

    segments: tuple[Segment, ...] = ()
    percent: int | None = None
    runs: bool = False


def bar(state: State, now: float) -> Bar:
    """Tell the time of one start. `now` is of the clock that the state's own times are of."""
    if state.began is None:
        return Bar()
    if state.phase in {"checking", "starting"}:
        return _progress(state, state.began, now)
    return Bar(_story(state))


def _progress(state: State, began: float, now: float) -> Bar:
    elapsed = max(0.0, now - began)
    running = [s.began for s in state.stages if s.status == "run" and s.began is not None]
    done = min(max(0.0, min(running, default=now) - began), elapsed)
    segments = [Segment("ok", done), Segment("run", elapsed - done)]
    if state.usual_s is None:
        return Bar(tuple(segments), None, runs=True)
    whole = max(state.usual_s, elapsed / _NEARLY)
    segments.append(Segment("rest", whole - elapsed))
    return Bar(tuple(segments), round(100 * elapsed / whole), runs=True)


def _story(state: State) -> tuple[Segment, ...]:
    if state.spawned is None:
        return ()  # The checks' own durations say all of it.
    segments = [Segment("ok", state.preflight_s or 0.0, "checks")]
    imported, server, ready = (state.stage(name) for name in (IMPORT, SERVER, READY))
    segments += _importing(state, imported, server)
    # A first answer that is the right one ends both at once.
    answering = state.became_ready if ready is None or ready.began is None else ready.began
    segments += _stretch(server, answering, "server")
    segments += _stretch(ready, state.became_ready, "first answer")
    if state.usual_s is not None and any(segment.kind == "bad" for segment in segments):
        left = state.usual_s - sum(segment.seconds for segment in segments)
        segments += [Segment("rest", left)] if left > 0 else []
    return tuple(segment for segment in segments if segment.seconds > 0)


def _importing(state: State, stage: Stage | None, server: Stage | None) -> list[Segment]:
    """Split the import into its slowest packages; before it, the interpreter and the server started."""
    if stage is None or stage.seconds is None or state.spawned is None:
        return []
    segments = []
    if server is not None and server.began is not None:
        segments.append(Segment("ok", server.began - state.spawned - stage.seconds, "python"))
    if stage.status == "bad":
        return [*segments, Segment("bad", stage.seconds, "import")]
    slow = sorted(state.importing.packages, key=lambda one: one[1], reverse=True)[:_MOST_PACKAGES]
    named = [Segment("ok", seconds, name) for name, seconds in slow if seconds >= _LEAST_S]
    rest = stage.seconds - sum(segment.seconds for segment in named)
    return [*segments, *named, Segment("ok", rest, "import" if not named else "other imports")]


def _stretch(stage: Stage | None, end: float | None, label: str) -> list[Segment]:
    if stage is None or stage.began is None or stage.status == "wait":
        return []
    if stage.status == "bad":
        return [Segment("bad", stage.seconds or 0.0, label)]
    return [] if end is None else [Segment("ok", end - stage.began, label)]
