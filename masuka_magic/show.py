"""Which view shows a start here: a terminal's redrawn picture, plain lines, or none.

The thin edge of the panel: it looks at the output that there is, and wires the real clock, width and writing.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masuka_magic.config.model import StartOptions
    from masuka_magic.session import View
    from masuka_magic.state import State


class NoView:
    """Shows nothing; the error of a failed start says all of it."""

    tick_s: float | None = None

    def update(self, state: State) -> None:
        """Show nothing."""

    def finish(self, state: State) -> None:
        """Show nothing."""

    def failure(self, state: State) -> list[str]:
        from masuka_magic.panel.text import render_failure

        return render_failure(state.findings, state, short=False)


def choose_view(options: StartOptions, *, findings: bool = False) -> View:
    """Choose the view for this output.

    `findings`: the view itself shows them; otherwise they are the error's text, once and whole.
    """
    if options.quiet:
        return NoView()
    from masuka_magic.panel.terminal import LineView, TerminalView

    if _redraws() and not options.text:
        return TerminalView(_write, clock=time.monotonic, redact=_as_it_is, size=_size, findings=findings)
    return LineView(_write, clock=time.monotonic, redact=_as_it_is, findings=findings)


def _redraws() -> bool:
    """Say whether the output is a terminal that can take a picture back."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _size() -> tuple[int, int]:
    columns, rows = shutil.get_terminal_size()
    return columns, rows


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _as_it_is(text: str) -> str:
    """States hold masked text only: the supervisor masks before it publishes."""
    return text
