"""How a start ended, for whoever asked for it: a value, and the errors that stop "Run all".

The errors render themselves; they are pure, because IPython may render one twice (ipython 9) and shows nothing at
all when rendering raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import Finding
    from masuka_magic.state import State


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of the waiting: its kind, and the state that is its evidence.

    `started`: spawned, not waited for. `stalled`: the backend still lives unless `on_stall` is "stop".
    """

    kind: Literal["ready", "started", "failed", "stalled", "interrupted"]
    state: State


class StartFailed(RuntimeError):
    """The backend did not become ready. `findings` best first; `outcome` carries the state."""

    def __init__(self, outcome: Outcome, lines: tuple[str, ...]) -> None:
        self.outcome = outcome
        self._lines = lines
        first = self.findings[0].title if self.findings else outcome.state.text
        super().__init__(first)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.outcome.state.findings

    def _render_traceback_(self) -> list[str]:
        return list(self._lines)


class StartInterrupted(KeyboardInterrupt):
    """The user interrupted the start, and what was started is gone; says so in one line."""

    def __init__(self, outcome: Outcome, line: str) -> None:
        self.outcome = outcome
        self._line = line
        super().__init__(line)

    def _render_traceback_(self) -> list[str]:
        return [self._line]
