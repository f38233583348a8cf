"""The two text views of a start: lines that are printed once, and a picture that is redrawn in place.

A view takes states and writes text; where the text goes, how wide it may be and what time it is come in as
values. Text that others wrote never makes a view fail: it is made harmless first, and what the output's
encoding cannot carry is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from masuka_magic.events import IMPORT, READY
from masuka_magic.panel import text as rendering
from masuka_magic.panel.columns import columns, cut, harmless
from masuka_magic.panel.model import PanelModel, Row, model
from masuka_magic.quantities import duration

if TYPE_CHECKING:
    from masuka_magic.board import Board
    from masuka_magic.state import Stage, State

_REDRAW_S = 0.1
_WIDEST = 100
#: A backend that answers, and not yet rightly, is worth a line after this.
_PATIENT_S = 2.0
_DIGITS = re.compile(r"\d+")
_STYLE = re.compile(r"\x1b\[[\d;]*m")
#: For an output that is not UTF-8; one column each, so that nothing moves.
_PLAIN_SIGNS = str.maketrans({"→": ">", "│": "|", "…": "~"})


class TextView:
    """What both views share: the model, the writing, and what the cell's error text has to add.

    `redact` masks; `explained` says whether a code has its page; `findings`: the view itself ends with the
    findings, and the error text is short then; without them the error text has the findings, whole.
    """

    tick_s: float | None = None

    def __init__(  # noqa: PLR0913 - the edge's values, each by its name
        self,
        write: Callable[[str], None],
        *,
        clock: Callable[[], float],
        redact: Callable[[str], str],
        explained: Callable[[str], bool] | None = None,
        colour: bool = False,
        findings: bool = True,
    ) -> None:
        self._write_text = write
        self._clock = clock
        self._redact = redact
        self._explained = explained
        self._ink = rendering.Ink(colour=colour)
        self._findings = findings

    def follow(self, board: Board) -> None:
        """Show nothing: what was printed for a cell stays as it is."""

    def failure(self, state: State) -> list[str]:
        """Return the cell's error text for a start that failed."""
        panel = self._model(state)
        if self._findings or not panel.findings:
            return rendering.render_failure(state.findings, state, short=True, redact=self._redact)
        return rendering.findings_lines(panel.findings, explained=self._explained)

    def _model(self, state: State) -> PanelModel:
        return model(state, self._clock(), self._redact)

    def _write(self, text: str) -> None:
        try:
            self._write_text(text)
        except UnicodeEncodeError:
            self._write_text(text.translate(_PLAIN_SIGNS).encode("ascii", "backslashreplace").decode("ascii"))

    def _closing(self, panel: PanelModel, width: int) -> list[str]:
        lines = rendering.outcome(panel, width, self._ink) + rendering.note_lines(panel.notes, width)
        if not panel.findings:
            return lines
        if not self._findings:
            return [*lines, ""]  # The error's text follows.
        found = rendering.findings_lines(panel.findings, width, self._ink, explained=self._explained)
        return [*lines, "", *found]


class LineView(TextView):
    """Prints what is settled, line by line, for outputs that cannot take anything back. Nothing is said
    twice.
    """

    def __init__(  # noqa: PLR0913 - as above
        self,
        write: Callable[[str], None],
        *,
        clock: Callable[[], float],
        redact: Callable[[str], str],
        width: int = rendering.WIDTH,
        explained: Callable[[str], bool] | None = None,
        colour: bool = False,
        findings: bool = True,
    ) -> None:
        super().__init__(
            write, clock=clock, redact=redact, explained=explained, colour=colour, findings=findings
        )
        self._width = width
        self._headline = ""
        self._said: set[tuple[object, ...]] = set()
        self._imports = 0
        self._last: State | None = None

    def update(self, state: State) -> None:
        """Print what this state settles."""
        if state.stages and not self._same_as_before(state):
            self._print(self._news(self._model(state), state))

    def finish(self, state: State) -> None:
        """Print the rest: how it ended, and why."""
        panel = self._model(state)
        self._print([*self._news(panel, state), *self._closing(panel, self._width)])

    def _same_as_before(self, state: State) -> bool:
        """Skip states that differ only in what lines do not show: most samples, log growth, import
        progress.
        """
        last, self._last = self._last, state
        return last is not None and last.stages is state.stages and last.port == state.port

    def _news(self, panel: PanelModel, state: State) -> list[str]:
        lines: list[str] = []
        # The headline names the port, which "auto" knows only after its check; it is never said twice.
        if not self._headline and (state.port is not None or state.settled or state.pid is not None):
            self._headline = panel.headline
            lines += rendering.headline(panel, self._width, self._ink)
        for row, stage in zip(panel.rows, state.stages, strict=True):
            if row.final and self._is_new(row.name, row.word, stage.began):
                self._imports += row.name == IMPORT
                lines += rendering.row_lines(row, self._width, self._ink)
            elif row.word == "run" and self._is_news(row, stage, state.at):
                lines += rendering.row_lines(_spoken(row, state), self._width, self._ink)
        return lines

    def _is_news(self, row: Row, stage: Stage, at: float) -> bool:
        """Say a running stage once for each thing that it waits for; counting up or down is no news."""
        if row.name == IMPORT:
            return self._is_new(row.name, "run", self._imports)
        if row.name == READY and (stage.began is None or at - stage.began < _PATIENT_S):
            return False
        return bool(stage.text) and self._is_new(row.name, "run", _DIGITS.sub("0", stage.text))

    def _is_new(self, *what: object) -> bool:
        if what in self._said:
            return False
        self._said.add(what)
        return True

    def _print(self, lines: list[str]) -> None:
        if lines:
            self._write("\n".join(lines) + "\n")


def _spoken(row: Row, state: State) -> Row:
    """Word a running stage for a line that stays: without a duration, with what it usually takes."""
    text = row.text
    if row.name == IMPORT:
        usual = "" if state.usual_s is None else f" (a start usually takes {duration(state.usual_s)})"
        text = f"importing {state.target.partition(':')[0]}{usual}"
    return Row(row.word, row.name, text, "")


class TerminalView(TextView):
    """Redraws the picture in place, at most ten times a second; the last one stays.

    `size` returns the terminal's columns and rows at the moment. A picture never grows beyond the screen
    while it is redrawn: what has scrolled away cannot be taken back.
    """

    tick_s: float | None = _REDRAW_S

    def __init__(  # noqa: PLR0913 - as above
        self,
        write: Callable[[str], None],
        *,
        clock: Callable[[], float],
        redact: Callable[[str], str],
        size: Callable[[], tuple[int, int]],
        explained: Callable[[str], bool] | None = None,
        colour: bool = True,
        findings: bool = True,
    ) -> None:
        super().__init__(
            write, clock=clock, redact=redact, explained=explained, colour=colour, findings=findings
        )
        self._size = size
        self._drawn: list[int] = []
        self._drawn_at = float("-inf")
        self._phase = ""
        self._finished = False

    def update(self, state: State) -> None:
        """Redraw, unless the last picture is younger than a tenth of a second and of the same phase."""
        now = self._clock()
        if self._finished or (now - self._drawn_at < _REDRAW_S and state.phase == self._phase):
            return
        self._drawn_at, self._phase = now, state.phase
        terminal, rows = self._size()
        width = _usable(terminal)
        panel = self._model(state)
        lines = rendering.headline(panel, width, self._ink) + rendering.rows_lines(panel, width, self._ink)
        lines += rendering.waiting_lines(panel, width) + rendering.outcome(panel, width, self._ink)
        lines += self._movement(panel, width)
        # The end of the picture is where things move.
        self._draw(lines[-max(rows - 1, 1) :], terminal)

    def finish(self, state: State) -> None:
        """Draw the last picture, whole, and leave it."""
        if self._finished:
            return
        self._finished = True
        terminal, _ = self._size()
        width = _usable(terminal)
        panel = self._model(state)
        lines = rendering.headline(panel, width, self._ink) + rendering.rows_lines(panel, width, self._ink)
        self._draw([*lines, *self._closing(panel, width)], terminal)

    def _movement(self, panel: PanelModel, width: int) -> list[str]:
        """Show the last line of the log: the sign that something goes on."""
        last = next((line for line in reversed(panel.log_tail) if line.strip()), "")
        shown = cut(harmless(last).strip(), max(width - 4, 1))
        return [self._ink("dim", f"  │ {shown}")] if shown and panel.waiting else []

    def _draw(self, lines: list[str], terminal: int) -> None:
        """Write one picture over the last one.

        A terminal that became narrower has broken the old lines anew, so their rows are counted in its
        present width. Lines are cleared before they are written: clearing behind a full line takes its last
        character.
        """
        up = sum(max(1, -(-width // max(terminal, 1))) for width in self._drawn)
        move = f"\r\x1b[{up}A" if up else "\r"
        self._write(move + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        self._drawn = [columns(_STYLE.sub("", line)) for line in lines]


def _usable(terminal: int) -> int:
    """Leave the last column free: a full line makes some terminals begin a new one."""
    return max(20, min(terminal - 1, _WIDEST))
