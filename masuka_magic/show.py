"""Which view shows a start here: a notebook's panel, a terminal's redrawn picture, plain lines, or none.

The thin edge of the panel: it looks at the output that there is, and wires the real clock, width, writing and
IPython, which it takes as it finds it loaded.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masuka_magic.board import Board
    from masuka_magic.config.model import StartOptions
    from masuka_magic.panel.widget import Publish
    from masuka_magic.session import View
    from masuka_magic.state import State


class NoView:
    """Shows nothing; the error of a failed start says all of it."""

    tick_s: float | None = None

    def update(self, state: State) -> None:
        """Show nothing."""

    def finish(self, state: State) -> None:
        """Show nothing."""

    def follow(self, board: Board) -> None:
        """Show nothing later either."""

    def failure(self, state: State) -> list[str]:
        from masuka_magic.panel.text import render_failure

        return render_failure(state.findings, state, short=False)


def choose_view(options: StartOptions, *, findings: bool = False) -> View:
    """Choose the view for this output.

    `findings`: the view itself shows them; otherwise they are the error's text, once and whole.
    """
    if options.quiet:
        return NoView()
    from masuka_magic.guard import GuardedView

    return GuardedView(_view(options, findings=findings))


def _view(options: StartOptions, *, findings: bool) -> View:
    shell = None if options.text else _notebook_shell()
    if shell is not None and importlib.util.find_spec("ipywidgets") is not None:
        from masuka_magic.panel.widget import WidgetView

        return WidgetView(
            _publisher(shell),
            clock=time.monotonic,
            redact=_as_it_is,
            watch_cells=lambda: _watch_cells(shell),
            link="google.colab" not in sys.modules,
        )
    from masuka_magic.panel.terminal import LineView, TerminalView

    if _redraws() and not options.text:
        return TerminalView(_write, clock=time.monotonic, redact=_as_it_is, size=_size, findings=findings)
    return LineView(_write, clock=time.monotonic, redact=_as_it_is, findings=findings)


def leave_cells(shell: Any) -> None:  # noqa: ANN401 - IPython's shell, untyped here
    """Take away what runs after each cell, if a panel ever asked for it."""
    widget = sys.modules.get("masuka_magic.panel.widget")
    if widget is not None and _watches(shell, widget.bring_up_to_date):
        shell.events.unregister("post_run_cell", widget.bring_up_to_date)


def _notebook_shell() -> Any:  # noqa: ANN401 - as above
    """Return the shell of a Jupyter kernel, None in a terminal and outside of IPython."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


def _publisher(shell: Any) -> Publish:  # noqa: ANN401 - as above
    def publish(forms: dict[str, Any], display_id: str, update: bool) -> None:  # noqa: FBT001 - Publish
        # Looked up each time: %%capture puts another publisher in its place.
        shell.display_pub.publish(data=forms, transient={"display_id": display_id}, update=update)

    return publish


def _watch_cells(shell: Any) -> None:  # noqa: ANN401 - as above
    from masuka_magic.panel.widget import bring_up_to_date

    if not _watches(shell, bring_up_to_date):
        shell.events.register("post_run_cell", bring_up_to_date)


def _watches(shell: Any, callback: object) -> bool:  # noqa: ANN401 - as above
    # IPython 7 may wrap what it is given.
    known = shell.events.callbacks["post_run_cell"]
    return any(getattr(one, "__wrapped__", one) is callback for one in known)


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
