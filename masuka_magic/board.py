"""Where the present state of one start hangs: one thread writes, any thread reads or waits.

The board folds events and wakes those who wait; it decides nothing and shows nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from masuka_magic.state import State, advance

if TYPE_CHECKING:
    from collections.abc import Callable

    from masuka_magic.events import Event


class Board:
    """The State of one start, changed by `publish` alone."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._version = 0
        self._changed = threading.Condition()

    @property
    def state(self) -> State:
        return self._state

    def publish(self, event: Event) -> State:
        """Fold the event in and wake everyone who waits. Returns the new state."""
        with self._changed:
            self._state = advance(self._state, event)
            self._version += 1
            self._changed.notify_all()
            return self._state

    def wait_change(self, version: int, timeout_s: float | None = None) -> tuple[int, State]:
        """Wait until there is something newer than `version`, or `timeout_s` have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout_s)
            return self._version, self._state

    def wait_until(self, wanted: Callable[[State], bool], timeout_s: float | None = None) -> State:
        """Wait until the state is as wanted, or `timeout_s` have passed; returns the state then."""
        with self._changed:
            self._changed.wait_for(lambda: wanted(self._state), timeout_s)
            return self._state
