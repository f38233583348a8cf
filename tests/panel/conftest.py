"""A start as its events tell it, for every view to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from masuka_magic import events
from masuka_magic.events import Answer, Event, Importing
from masuka_magic.state import State, advance

PACKAGES = (("app", 2.6), ("torch", 2.0), ("transformers", 1.6), ("diffusers", 1.1), ("yaml", 0.01))
NEW = State("backend", "app.main:app", "127.0.0.1", 8000, url="http://127.0.0.1:8000")
CHECKS: tuple[Event, ...] = (
    events.Begun(0.0, ("database", "port", "application", "import", "server", "ready"), usual_s=14.2),
    events.CheckStarted(0.0, "database"),
    events.CheckFinished(0.012, "database", "ok", "PostgreSQL 18.4, masuka@127.0.0.1:5432", 0.012),
    events.CheckStarted(0.012, "port"),
    events.CheckFinished(0.013, "port", "ok", "8000 is free", 0.001),
    events.CheckStarted(0.013, "application"),
    events.CheckFinished(0.021, "application", "ok", "app/main.py defines app, uvicorn 0.54", 0.008),
)
IMPORTING: tuple[Event, ...] = (
    events.Spawned(0.03, 4121),
    events.ImportStarted(0.1, "app.main"),
    events.ImportProgressed(4.8, Importing("diffusers", 2_000, PACKAGES)),
    events.LogGrew(4.8, 60, ("loading configuration from backend/.env",)),
)
SERVING: tuple[Event, ...] = (events.ImportFinished(7.5, 7.4, Importing("", 3_847, PACKAGES)),)
READY: tuple[Event, ...] = (
    events.Probed(7.56, Answer(0.003, None, error="reset", listening=True), "GET /health: reset"),
    events.BecameReady(7.6, Answer(0.003, 200, name="MASUKA V2", version="2.0.0", listening=True)),
)


@pytest.fixture
def unfold() -> Callable[[Sequence[Event]], list[State]]:
    """Fold events one by one; the states in their order."""

    def fold(happened: Sequence[Event]) -> list[State]:
        states = [NEW]
        for event in happened:
            states.append(advance(states[-1], event))
        return states[1:]

    return fold


@pytest.fixture
def good_start() -> tuple[Event, ...]:
    """The start of the sketch: checked, imported, served, ready."""
    return (*CHECKS, *IMPORTING, *SERVING, *READY)


@pytest.fixture
def checked() -> tuple[Event, ...]:
    """All checks have passed, nothing is spawned."""
    return CHECKS


@pytest.fixture
def importing() -> tuple[Event, ...]:
    """In the middle of the import."""
    return (*CHECKS, *IMPORTING)


@pytest.fixture
def serving() -> tuple[Event, ...]:
    """Imported, and not listening yet."""
    return (*CHECKS, *IMPORTING, *SERVING)
