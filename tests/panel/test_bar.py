"""The bar: seconds that add up, in every state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from masuka_magic import events
from masuka_magic.events import Event
from masuka_magic.panel.bar import bar
from masuka_magic.state import State

Unfold = Callable[[Sequence[Event]], list[State]]


def told(state: State) -> dict[str, float]:
    return {one.label: round(one.seconds, 3) for one in bar(state, state.at).segments}


def test_the_story_adds_up_to_the_time(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """Checks, the interpreter, each slow package, the rest of the import, the server, the first answer."""
    state = unfold(good_start)[-1]
    assert {
        "checks": 0.021,
        "python": 0.07,
        "app": 2.6,
        "torch": 2.0,
        "transformers": 1.6,
        "diffusers": 1.1,
        "other imports": 0.1,
        "server": 0.06,
        "first answer": 0.04,
    } == told(state)
    assert sum(told(state).values()) == pytest.approx(7.6, abs=0.01)


def test_a_first_answer_that_is_right_ends_the_servers_time(
    unfold: Unfold, serving: tuple[Event, ...]
) -> None:
    """The story is whole also when the server was never seen listening before it was ready."""
    state = unfold((*serving, events.BecameReady(7.6, events.Answer(0.003, 200, listening=True))))[-1]
    assert told(state)["server"] == pytest.approx(0.1)
    assert sum(told(state).values()) == pytest.approx(7.6, abs=0.01)


def test_a_broken_import_is_where_it_ends(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """What failed is told apart, and what was left of the usual time stays empty."""
    state = unfold((*importing, events.ImportBroke(5.0, 4.9, "x"), events.Exited(5.1, 1, "exit code 1")))[-1]
    shown = [(one.kind, one.label) for one in bar(state, state.at).segments]
    assert [("ok", "checks"), ("bad", "import"), ("rest", "")] == shown


def test_what_was_never_spawned_has_no_story(unfold: Unfold, checked: tuple[Event, ...]) -> None:
    """The checks' own durations say all of it."""
    state = unfold((*checked, events.Refused(0.1, ())))[-1]
    assert () == bar(state, state.at).segments


def test_progress_never_ends_before_the_start_does(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """However late a start is, something is left of the bar."""
    state = unfold(importing)[-1]
    percents = [bar(state, at).percent for at in (0.0, 7.1, 14.2, 60.0, 3_600.0)]
    assert [0, 50, 97, 97, 97] == percents
