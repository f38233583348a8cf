"""The fold: which phase follows which, and what a state knows."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from masuka_magic import events
from masuka_magic.diagnosis.findings import Finding
from masuka_magic.events import Answer, Importing
from masuka_magic.state import OVER, TRANSITIONS, State, advance

OK = Answer(seconds=0.003, status=200, name="MASUKA V2", version="2.0.0", listening=True)
FINDING = Finding("unknown", "something broke")


def new_state() -> State:
    return State(service="backend", target="app.main:app", host="127.0.0.1", port=8000)


def fold(*happened: events.Event) -> State:
    state = new_state()
    for event in happened:
        state = advance(state, event)
    return state


UP = (
    events.Begun(10.0, ("database", "port", "import", "server", "ready"), 7.5),
    events.CheckStarted(10.0, "database"),
    events.CheckFinished(10.012, "database", "ok", "PostgreSQL 18.4", 0.012),
    events.CheckStarted(10.012, "port"),
    events.CheckFinished(10.013, "port", "ok", "8000 is free", 0.001),
    events.Spawned(10.02, 4121),
    events.ImportStarted(10.1, "app.main"),
    events.ImportFinished(12.1, 2.0, Importing("", 800, (("torch", 1.5),))),
)


def test_a_good_start_becomes_ready_with_its_timings() -> None:
    """The way up ends in ready; the seconds count from the beginning of the start."""
    state = fold(*UP, events.BecameReady(12.2, OK))
    assert state.phase == "ready"
    assert {name: round(s, 3) for name, s in state.timings.items()} == {
        "preflight": 0.013,
        "import": 2.0,
        "ready": 2.2,
    }
    assert [(stage.name, stage.status) for stage in state.stages] == [
        ("database", "ok"),
        ("port", "ok"),
        ("import", "ok"),
        ("server", "ok"),
        ("ready", "ok"),
    ]


def test_an_answer_closes_the_import_whose_report_was_lost() -> None:
    """Whoever answers has imported its application, whatever became of the report."""
    state = fold(*UP[:-1], events.BecameReady(12.2, OK))
    stage = state.stage("import")
    assert stage is not None
    assert stage.status == "ok"


def test_an_exit_before_ready_fails_and_marks_the_running_stage() -> None:
    """The stage that ran when the process ended is where it ended."""
    state = fold(*UP[:-1], events.Exited(10.5, 1, "exited with code 1", (FINDING,)))
    stage = state.stage("import")
    assert stage is not None
    assert (state.phase, state.returncode, state.findings) == ("failed", 1, (FINDING,))
    assert stage.status == "bad"
    assert stage.seconds == pytest.approx(0.48)


def test_a_stalled_backend_may_still_turn_ready_and_drops_its_finding() -> None:
    """A stall is no verdict for ever: what it waited for may come."""
    stalled = fold(*UP, events.Stalled(60.0, "nothing moved", (FINDING,)))
    assert stalled.phase == "stalled"
    ready = advance(stalled, events.BecameReady(61.0, OK))
    assert (ready.phase, ready.findings, ready.ready_s) == ("ready", (), 51.0)


def test_liveness_turns_ready_to_unhealthy_and_back_without_a_new_ready_time() -> None:
    """Recovering is not a second start."""
    ready = fold(*UP, events.BecameReady(12.2, OK))
    ill = advance(ready, events.BecameUnhealthy(50.0, replace(OK, status=500), "GET /health answered 500"))
    well = advance(ill, events.BecameReady(80.0, OK))
    assert (ill.phase, well.phase, well.ready_s) == ("unhealthy", "ready", ready.ready_s)


def test_an_exit_while_stopping_is_part_of_the_stop() -> None:
    """A stop that was asked for ends in stopped, whatever code the process ends with."""
    state = fold(*UP, events.Stopping(13.0, "stopping"), events.Exited(13.1, -15, "SIGTERM"))
    assert state.phase == "stopping"
    assert advance(state, events.Stopped(13.2, "stopped", -15)).phase == "stopped"


def test_a_refused_start_fails_without_a_process() -> None:
    """A failed check prevents the launch."""
    state = fold(*UP[:3], events.Refused(10.02, (FINDING,)))
    assert (state.phase, state.pid) == ("failed", None)


def every_event() -> list[events.Event]:
    return [
        events.Begun(1.0, ("import", "server", "ready")),
        events.CheckStarted(1.0, "port"),
        events.CheckProgressed(1.0, "port", "…"),
        events.CheckFinished(1.0, "port", "ok", "free", 0.1),
        events.PortChosen(1.0, 8001, "http://127.0.0.1:8001"),
        events.Refused(1.0, (FINDING,)),
        events.Spawned(1.0, 7),
        events.ImportStarted(1.0, "app"),
        events.ImportProgressed(1.0, Importing("torch")),
        events.ImportFinished(1.0, 1.0, Importing()),
        events.ImportBroke(1.0, 1.0, "KeyError"),
        events.LogGrew(1.0, 10, ("a",)),
        events.Sampled(1.0, 10, 0.5),
        events.Probed(1.0, OK, "GET /health answered 404"),
        events.BecameReady(1.0, OK),
        events.BecameUnhealthy(1.0, OK, "ill"),
        events.Stalled(1.0, "still", (FINDING,)),
        events.Exited(1.0, 1, "exited"),
        events.Stopping(1.0, "stopping"),
        events.Stopped(1.0, "stopped"),
        events.Noted(1.0, "note"),
    ]


def test_every_event_is_tried_here() -> None:
    """The list above is whole: a new kind of event must be added to it."""
    # By name: a dataclass with slots leaves its first, slotless class behind as a subclass too.
    tried = {type(event).__name__ for event in every_event()}
    assert tried == {kind.__name__ for kind in events.Event.__subclasses__()}


def test_the_fold_is_total_and_follows_the_table() -> None:
    """No event in no phase raises, and the phase changes as the table says, else not at all."""
    phases: list[events.Phase] = [
        "new", "checking", "starting", "ready", "unhealthy", "stalled", "failed", "stopping", "stopped", "exited",
    ]  # fmt: skip
    for phase, event in itertools.product(phases, every_event()):
        state = replace(fold(*UP), phase=phase)
        assert advance(state, event).phase == TRANSITIONS.get((phase, type(event)), phase)


def test_nothing_leaves_an_end() -> None:
    """failed, stopped and exited are final: a late report changes no verdict."""
    assert [pair for pair in TRANSITIONS if pair[0] in OVER] == []


def test_time_never_runs_backwards() -> None:
    """An event that was stamped in the child before the last one of ours does not turn the clock back."""
    state = fold(*UP)
    assert advance(state, events.Sampled(1.0, 1, 0.0)).at == state.at
