"""The panel in a notebook: one ipywidgets container, and HTML that stands for it where no widget is.

The only importer of ipywidgets, which takes 110 ms: it comes while the child starts. While a cell waits its own
thread draws; afterwards a thread pushes what changes, and each later cell brings the panel up to date, because
Colab shows only what is sent while a cell executes. The output is one display of three forms (widget, HTML, text),
so that a saved notebook holds the newest HTML; of a run that is over the HTML alone stays, since a widget
without its kernel shows nothing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from masuka_magic.panel.html import body_html, panel_html
from masuka_magic.panel.model import PanelModel, model
from masuka_magic.panel.style import STYLE
from masuka_magic.panel.text import panel_lines, render_failure
from masuka_magic.state import OVER, State

if TYPE_CHECKING:
    from masuka_magic.board import Board

#: Sends a display of several forms: the data, its display_id, whether it replaces the one with that id.
Publish = Callable[[dict[str, Any], str, bool], None]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_REDRAW_S = 0.1
#: After the cell has ended a running start is drawn less often: nobody waits for it.
_PUSH_S = 0.5
#: Checks are mostly done before anything could be read; longer ones are shown.
_PATIENT_S = 0.2

_MOVING = frozenset({"new", "checking", "starting"})

#: The panels that may still change, for the cells to come.
_live: list[WidgetView] = []


class WidgetView:
    """One start in one output.

    `watch_cells` is called once something may change after the cell; it has to see to it that
    `bring_up_to_date` runs after each later cell. `link`: the reader's browser reaches the backend's address.
    """

    tick_s: float | None = _REDRAW_S

    def __init__(
        self,
        publish: Publish,
        *,
        clock: Callable[[], float],
        redact: Callable[[str], str],
        watch_cells: Callable[[], None],
        link: bool = True,
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._redact = redact
        self._watch_cells = watch_cells
        self._link = link
        self._display_id = uuid.uuid4().hex
        # The cell's thread and the one that follows later both draw; never both at once.
        self._drawing = threading.Lock()
        self._box: _Box | None = None
        self._shown = False
        self._drawn_at = float("-inf")
        self._phase = ""
        self._board: Board | None = None
        self._notes: tuple[str, ...] = ()
        self._last: State | None = None
        self._in_cell: State | None = None

    def update(self, state: State) -> None:
        """Draw, unless the last picture is younger than a tenth of a second and of the same phase."""
        now = self._clock()
        if now - self._drawn_at < _REDRAW_S and state.phase == self._phase:
            return
        if not self._shown and not _worth_a_widget(state, now):
            return
        self._drawn_at, self._phase = now, state.phase
        with self._drawing:
            self._draw(state)

    def finish(self, state: State) -> None:
        """Draw the last picture of the waiting cell, whole, and let the saved copy have it."""
        with self._drawing:
            self._settle(state)
            self._in_cell = state

    def follow(self, board: Board) -> None:
        """Show what becomes of it after the cell: a thread pushes, later cells bring up to date."""
        last = self._last
        self._board = board
        # What the cell alone said, such as why a backend was reused, stays said.
        self._notes = () if last is None else tuple(n for n in last.notes if n not in board.state.notes)
        _live.append(self)
        self._watch_cells()
        threading.Thread(target=self._push, name="masuka-panel", daemon=True).start()

    def failure(self, state: State) -> list[str]:
        """Return the cell's error text: short, since the panel stands above it."""
        return render_failure(state.findings, state, short=True, redact=self._redact)

    def bring_up_to_date(self) -> None:
        """Send again, from the cell that executes now, what may have been pushed in vain."""
        if self._board is None:
            return
        with self._drawing:
            state = self._present(self._board.state)
            if not self._same(state, self._in_cell):
                self._settle(state)
                if self._box is not None:
                    self._box.send_again()
                self._in_cell = state
        if state.phase in OVER and self in _live:
            _live.remove(self)

    # -- inside ----------------------------------------------------------------------------------------

    def _push(self) -> None:
        board = self._board
        if board is None:
            return
        version, phase = -1, ""
        while phase not in OVER:
            version, known = board.wait_change(version, _PUSH_S if phase in _MOVING else None)
            state, phase = self._present(known), known.phase
            with self._drawing:
                if phase in _MOVING and phase == self._phase:
                    if self._clock() - self._drawn_at < _PUSH_S:
                        continue
                    self._draw(state)
                elif not self._same(state, self._last):
                    self._settle(state)
                self._drawn_at, self._phase = self._clock(), phase

    def _present(self, state: State) -> State:
        return replace(state, notes=(*state.notes, *self._notes)) if self._notes else state

    def _same(self, state: State, other: State | None) -> bool:
        """Whether two states look alike; what the panel does not show of a ready backend is no change."""
        return other is not None and self._body(state) == self._body(other)

    def _model(self, state: State) -> PanelModel:
        return model(state, self._clock(), self._redact)

    def _body(self, state: State) -> str:
        return body_html(model(state, state.at, self._redact), link=self._link)

    def _draw(self, state: State) -> None:
        """Draw while something moves: the widget alone changes, its saved copy does not."""
        panel = self._model(state)
        self._last = state
        if not self._shown:
            self._show(panel)
        elif self._box is not None:
            self._box.draw(body_html(panel, turn_s=self._clock(), link=self._link))
        else:
            self._publish(self._forms(panel), self._display_id, True)  # noqa: FBT003 - it replaces the last one

    def _settle(self, state: State) -> None:
        """Draw what stays for a while, in all its forms."""
        panel = self._model(state)
        self._last = state
        if state.phase in OVER:
            box, self._box = self._box, None
            self._publish(self._forms(panel), self._display_id, self._shown)
            self._shown = True
            if box is not None:
                box.close()
        elif not self._shown:
            self._show(panel)
        else:
            if self._box is not None:
                self._box.draw(body_html(panel, turn_s=self._clock(), link=self._link))
            self._publish(self._forms(panel), self._display_id, True)  # noqa: FBT003 - as above

    def _show(self, panel: PanelModel) -> None:
        try:
            self._box = _Box(body_html(panel, turn_s=self._clock(), link=self._link))
        except Exception as error:  # noqa: BLE001 - an installation that does not fit must not break a start
            note = f"ipywidgets cannot be used ({type(error).__name__}: {error})"
            panel = replace(panel, notes=(*panel.notes, note))
        self._publish(self._forms(panel), self._display_id, False)  # noqa: FBT003 - it is the first one
        self._shown = True

    def _forms(self, panel: PanelModel) -> dict[str, Any]:
        forms: dict[str, Any] = {
            "text/plain": "\n".join(panel_lines(panel)),
            "text/html": panel_html(panel, turn_s=self._clock(), link=self._link),
        }
        if self._box is not None:
            forms[WIDGET_VIEW] = self._box.view
        return forms


class _Box:
    """The widget itself: styles that are sent once, and the picture that changes."""

    def __init__(self, body: str) -> None:
        import ipywidgets

        self._body = ipywidgets.HTML(body)
        style = ipywidgets.HTML(STYLE, layout={"display": "none"})
        self._box = ipywidgets.VBox([style, self._body])
        self._box.add_class("masuka-panel")
        self._all = (self._box, self._body, style)

    @property
    def view(self) -> dict[str, Any]:
        return {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}

    def draw(self, body: str) -> None:
        """Send the picture if it is another one."""
        self._body.value = body

    def send_again(self) -> None:
        self._body.send_state("value")

    def close(self) -> None:
        for widget in self._all:
            for part in (widget.layout, getattr(widget, "style", None), widget):
                if part is not None:  # In ipywidgets 7 only some widgets have a style.
                    part.close()


def bring_up_to_date(_result: object = None) -> None:
    """Bring all panels up to date: IPython's `post_run_cell`."""
    for view in tuple(_live):
        view.bring_up_to_date()


def _worth_a_widget(state: State, now: float) -> bool:
    """Keep all of this off the way to the spawn, as long as there is hardly anything to see."""
    if state.phase in OVER:
        return False
    if state.phase not in {"new", "checking"}:
        return True
    return state.began is not None and now - state.began > _PATIENT_S
