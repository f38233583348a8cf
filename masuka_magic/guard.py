"""A view that fails must not fail the start it shows: the waiting goes on, and the error's text says it all.

Knows nothing of what is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from masuka_magic.board import Board
    from masuka_magic.session import View
    from masuka_magic.state import State


class GuardedView:
    """Passes everything on to a view, until one call raises; then shows nothing more.

    An interrupt is no failure of the view and goes through.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self.broken: str | None = None

    @property
    def tick_s(self) -> float | None:
        return None if self.broken is not None else self._view.tick_s

    def update(self, state: State) -> None:
        self._try(lambda: self._view.update(state))

    def finish(self, state: State) -> None:
        self._try(lambda: self._view.finish(state))

    def follow(self, board: Board) -> None:
        self._try(lambda: self._view.follow(board))

    def failure(self, state: State) -> list[str]:
        """Return the error's text: the view's own, or all of it when the view could not show its part."""
        lines: list[str] = []
        self._try(lambda: lines.extend(self._view.failure(state)))
        if self.broken is None:
            return lines
        from masuka_magic.panel.text import note_lines, render_failure

        return [*render_failure(state.findings, state, short=False), *note_lines([self.broken])]

    def _try(self, show: Callable[[], object]) -> None:
        if self.broken is not None:
            return
        try:
            show()
        except Exception as error:  # noqa: BLE001 - an edge: an output may be closed, full, or of another version
            self.broken = f"the view stopped: {type(error).__name__}: {error}"
