"""The two views: lines that are never repeated, and a picture that a terminal keeps."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from masuka_magic import events
from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.events import Event
from masuka_magic.panel.columns import columns
from masuka_magic.panel.model import model
from masuka_magic.panel.terminal import LineView, TerminalView
from masuka_magic.panel.text import finding_lines, panel_lines
from masuka_magic.state import State

Unfold = Callable[[Sequence[Event]], list[State]]
FINDING = Finding(
    "missing-module", "the module x is not installed", "x", remedies=(Remedy("get it", "pip " + "x" * 90),)
)


def as_it_is(text: str) -> str:
    return text


class Screen:
    """A terminal that knows what the view uses: line feeds, wrapping, cursor up, clearing. It scrolls."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows = [""]
        self.row = self.column = 0

    def write(self, text: str) -> None:
        at = 0
        while at < len(text):
            if text.startswith("\x1b[", at):
                end = next(i for i in range(at + 2, len(text)) if text[i].isalpha())
                self.control(text[at + 2 : end], text[end])
                at = end + 1
                continue
            self.put(text[at])
            at += 1

    def control(self, argument: str, name: str) -> None:
        if name == "A":
            top = max(0, len(self.rows) - self.height)
            self.row = max(top, self.row - int(argument))
        elif name == "K":
            assert "2" == argument
            self.rows[self.row] = ""
        elif name == "J":
            self.rows[self.row] = self.rows[self.row][: self.column]
            del self.rows[self.row + 1 :]
        else:
            assert "m" == name

    def put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
            return
        if character == "\n" or self.column >= self.width:
            self.row += 1
            self.column = 0
            if self.row == len(self.rows):
                self.rows.append("")
            if character == "\n":
                return
        line = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1

    @property
    def shown(self) -> list[str]:
        return [row.rstrip() for row in self.rows]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(states: Sequence[State], **options: Any) -> str:
    written: list[str] = []
    clock = Clock()
    view = LineView(written.append, clock=clock, redact=as_it_is, **options)
    for state in states:
        clock.now = state.at
        view.update(state)
        view.update(state)
    view.finish(states[-1])
    return "".join(written)


def test_lines_of_a_good_start(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """Each stage once, when it is over; the import also when it begins."""
    assert """\
masuka  app.main:app on 127.0.0.1:8000
  ok    database     PostgreSQL 18.4, masuka@127.0.0.1:5432                12 ms
  ok    port         8000 is free                                           1 ms
  ok    application  app/main.py defines app, uvicorn 0.54                  8 ms
  run   import       importing app.main (a start usually takes 14 s)
  ok    import       torch 2.0, transformers 1.6, diffusers 1.1, app 2.6   7.4 s
  ok    server       listening on 127.0.0.1:8000                           60 ms
  ok    ready        MASUKA V2 2.0.0, GET /health answered 200              3 ms
ready in 7.6 s  http://127.0.0.1:8000  pid 4121  logs: %masuka_logs
""" == lines_of(unfold(good_start))


def test_lines_of_what_is_waited_for(
    unfold: Unfold, checked: tuple[Event, ...], serving: tuple[Event, ...]
) -> None:
    """A check that waits says so once, whatever it counts; so does a backend that answers wrongly."""
    waits = [
        events.CheckProgressed(0.001 * n, "database", f"PostgreSQL is starting up, try {n}") for n in range(9)
    ]
    wrong = [
        events.Probed(8.0 + n, events.Answer(0.1, 503, listening=True), "GET /health answered 503")
        for n in range(9)
    ]
    text = lines_of(unfold([*checked[:2], *waits, *checked[2:], *serving[len(checked) :], *wrong]))
    assert 1 == text.count("PostgreSQL is starting up, try 0")
    assert 1 == text.count("starting up")
    assert 1 == text.count("GET /health answered 503")


def test_lines_of_a_failure_end_with_the_finding(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """The stage that failed, the outcome, the finding; stages that never came are not listed."""
    states = unfold((*importing, events.Exited(5.0, 1, "exit code 1", (FINDING,))))
    text = lines_of(states)
    assert "  FAIL  import       stopped while importing diffusers                     5.0 s\n" in text
    assert "wait" not in text
    assert text.endswith(f"\n      pip {'x' * 90}\n")
    without = lines_of(states, findings=False)
    assert without.endswith("exit code 1 while importing app.main  logs: %masuka_logs\n\n")


def test_the_error_text_is_whole_where_the_view_shows_no_findings(
    unfold: Unfold, importing: tuple[Event, ...]
) -> None:
    """What the view has shown is not told again, and what it has not is told whole."""
    state = unfold((*importing, events.Exited(5.0, 1, "exit code 1", (FINDING,))))[-1]
    short = LineView(print, clock=Clock(), redact=as_it_is).failure(state)
    whole = LineView(print, clock=Clock(), redact=as_it_is, findings=False).failure(state)
    assert finding_lines(FINDING, short=True) == short
    assert finding_lines(FINDING) == whole


def test_a_second_import_is_told_again(unfold: Unfold, serving: tuple[Event, ...]) -> None:
    """A reloader imports again: its end is news."""
    again = (*serving, events.ImportStarted(9.0, "app.main"), events.ImportBroke(9.1, 0.1, "NameError: x"))
    text = lines_of(unfold(again))
    assert 2 == text.count("importing app.main")
    assert "FAIL  import       NameError: x" in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (40, 24), (80, 8), (25, 5)])
def test_the_last_picture_stays(
    width: int, height: int, unfold: Unfold, good_start: tuple[Event, ...]
) -> None:
    """After a redrawn start the terminal holds the whole last picture once, and nothing else."""
    screen, clock = Screen(width, height), Clock()
    view = TerminalView(
        screen.write, clock=clock, redact=as_it_is, size=lambda: (width, height), colour=False
    )
    screen.write("In [1]: %masuka_start\n")
    states = unfold(good_start)
    for state in states:
        clock.now = state.at
        view.update(state)
        clock.now += 0.2
        view.update(state)
    view.finish(states[-1])
    final = panel_lines(model(states[-1], clock.now, as_it_is), max(20, min(width - 1, 100)))
    assert ["In [1]: %masuka_start", *final, ""] == screen.shown


def test_a_command_longer_than_the_terminal(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """The terminal may wrap it; the view never cuts it."""
    written: list[str] = []
    view = TerminalView(written.append, clock=Clock(), redact=as_it_is, size=lambda: (40, 24), colour=False)
    view.finish(unfold((*importing, events.Exited(5.0, 1, "exit code 1", (FINDING,))))[-1])
    assert f"      pip {'x' * 90}\n" in written[-1]


def test_a_terminal_that_becomes_narrow(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """The rows that the old picture takes in the new width are the ones that are drawn over."""
    size = [100, 40]
    written: list[str] = []
    clock = Clock()
    view = TerminalView(
        written.append, clock=clock, redact=as_it_is, size=lambda: (size[0], size[1]), colour=False
    )
    state = unfold(importing)[-1]
    view.update(state)
    old = written[-1].replace("\x1b[2K", "").replace("\x1b[J", "").lstrip("\r").split("\n")[:-1]
    size[0], clock.now = 50, 1.0
    view.update(state)
    up = int(written[-1].removeprefix("\r\x1b[").partition("A")[0])
    assert sum(max(1, -(-columns(line) // 50)) for line in old) == up


def test_ten_pictures_a_second_at_most(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """Updates in between are dropped, those of a new phase and the last one are not."""
    written: list[str] = []
    clock = Clock()
    view = TerminalView(written.append, clock=clock, redact=as_it_is, size=lambda: (80, 24))
    state = unfold(importing)[-1]
    for number in range(100):
        clock.now = number / 100
        view.update(state)
    assert 10 == len(written)
    view.update(replace(state, phase="stalled"))
    view.finish(state)
    view.finish(state)
    view.update(state)
    assert 12 == len(written)


def test_the_last_line_of_the_log_is_movement(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """While it runs the newest log line stands below, dim; in the last picture it does not."""
    written: list[str] = []
    view = TerminalView(written.append, clock=Clock(), redact=as_it_is, size=lambda: (80, 24))
    state = unfold(importing)[-1]
    view.update(state)
    assert "\x1b[2m  │ loading configuration from backend/.env\x1b[0m" in written[-1]
    view.finish(replace(state, phase="ready"))
    assert "loading configuration" not in written[-1]


def test_an_output_that_is_not_utf_8(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """What the encoding cannot carry is replaced, never raised."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    finding = replace(FINDING, title="日本語 …")
    states = unfold((*importing, events.Exited(5.0, 1, "exit code 1", (finding,))))

    def write(text: str) -> None:
        output.write(text)

    view = LineView(write, clock=Clock(), redact=as_it_is)
    for state in states:
        view.update(state)
    view.finish(states[-1])
    output.flush()
    assert b"error: \\u65e5" in output.buffer.getvalue()
