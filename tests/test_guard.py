"""A view that fails does not fail the start it shows."""

from __future__ import annotations

import pytest

from masuka_magic.board import Board
from masuka_magic.guard import GuardedView
from masuka_magic.state import State

STATE = State(service="backend", target="main:app", host="127.0.0.1", port=8000, phase="failed", pid=7)


class Fragile:
    """Shows once, then its output is closed."""

    tick_s = 0.1

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls: list[str] = []

    def _show(self, what: str) -> None:
        self.calls.append(what)
        if len(self.calls) > 1:
            raise self.error

    def update(self, state: State) -> None:
        self._show("update")

    def finish(self, state: State) -> None:
        self._show("finish")

    def follow(self, board: Board) -> None:
        self._show("follow")

    def failure(self, state: State) -> list[str]:
        return ["short"]


def test_a_view_that_works_is_passed_through() -> None:
    """The error's text is the view's own."""
    view = Fragile(OSError())
    guarded = GuardedView(view)
    guarded.update(STATE)
    assert (guarded.tick_s, guarded.failure(STATE), view.calls) == (0.1, ["short"], ["update"])


def test_a_view_that_raises_is_asked_no_more_and_the_text_is_whole() -> None:
    """The start goes on; what the view could not show stands in the error, with the reason."""
    view = Fragile(BrokenPipeError(32, "Broken pipe"))
    guarded = GuardedView(view)
    for _ in range(3):
        guarded.update(STATE)
    guarded.finish(STATE)
    guarded.follow(Board(STATE))
    assert (view.calls, guarded.tick_s) == (["update", "update"], None)
    text = guarded.failure(STATE)
    assert text[0].startswith("masuka  main:app")
    assert text[-1] == "note: the view stopped: BrokenPipeError: [Errno 32] Broken pipe"


def test_an_interrupt_goes_through() -> None:
    """Stopping the start is the session's matter."""
    guarded = GuardedView(Fragile(KeyboardInterrupt()))
    guarded.update(STATE)
    with pytest.raises(KeyboardInterrupt):
        guarded.update(STATE)
