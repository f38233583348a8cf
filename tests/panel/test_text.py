"""The panel as text: the exact lines of every state, and a width that nothing exceeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from masuka_magic import events
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.events import Answer, Event, Importing
from masuka_magic.panel.columns import columns
from masuka_magic.panel.model import model
from masuka_magic.panel.text import Ink, finding_lines, panel_lines, render_failure
from masuka_magic.state import State

Unfold = Callable[[Sequence[Event]], list[State]]

REFUSED = Finding(
    "pg-refused",
    "PostgreSQL refused the connection at 127.0.0.1:5432",
    "127.0.0.1:5432",
    (
        EvidenceLine("app/db.py", 14, "engine.connect()"),
        EvidenceLine(
            "stderr", 118, 'connection to server at "127.0.0.1", port 5432 failed: Connection refused'
        ),
    ),
    ("the app connects while it is imported, so it stopped before opening its port",),
    (Remedy("start the server", "sudo service postgresql start"),),
)


def as_it_is(text: str) -> str:
    return text


def shown(state: State, later_s: float = 0.0, width: int = 80) -> str:
    return "\n".join(panel_lines(model(state, state.at + later_s, as_it_is), width))


def test_ready_is_the_sketch(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """Every stage with its concrete value and duration; the application's own time comes last."""
    assert """\
masuka  app.main:app on 127.0.0.1:8000
  ok    database     PostgreSQL 18.4, masuka@127.0.0.1:5432                12 ms
  ok    port         8000 is free                                           1 ms
  ok    application  app/main.py defines app, uvicorn 0.54                  8 ms
  ok    import       torch 2.0, transformers 1.6, diffusers 1.1, app 2.6   7.4 s
  ok    server       listening on 127.0.0.1:8000                           60 ms
  ok    ready        MASUKA V2 2.0.0, GET /health answered 200              3 ms
ready in 7.6 s  http://127.0.0.1:8000  pid 4121  logs: %masuka_logs""" == shown(unfold(good_start)[-1])


def test_the_import_says_what_it_is_at(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """The running stage names the package, the waiting line how long it usually takes."""
    assert """\
masuka  app.main:app on 127.0.0.1:8000
  ok    database     PostgreSQL 18.4, masuka@127.0.0.1:5432                12 ms
  ok    port         8000 is free                                           1 ms
  ok    application  app/main.py defines app, uvicorn 0.54                  8 ms
  run   import       importing diffusers                                   4.9 s
  wait  server
  wait  ready        GET /health
waiting for the import of app.main  4.9 s, usually 14 s  interrupt to stop""" == shown(
        unfold(importing)[-1], 0.1
    )


def test_a_waiting_check_says_for_what(unfold: Unfold, checked: tuple[Event, ...]) -> None:
    """The database that starts up is waited for by name."""
    happened = (*checked[:2], events.CheckProgressed(0.1, "database", "127.0.0.1:5432 is starting up"))
    assert """\
masuka  app.main:app on 127.0.0.1:8000
  run   database     127.0.0.1:5432 is starting up                         2.1 s
  wait  port
  wait  application
  wait  import
  wait  server
  wait  ready        GET /health
waiting for the database check  2.1 s, usually 14 s  interrupt to stop""" == shown(unfold(happened)[-1], 2.0)


def test_a_late_start_says_so(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """Half as long again as usual is late."""
    last = shown(unfold(importing)[-1], 30.0).splitlines()[-1]
    assert "waiting for the import of app.main  35 s, late: usually 14 s" == last.removesuffix(
        "  interrupt to stop"
    )


def test_the_server_that_does_not_listen_yet(unfold: Unfold, serving: tuple[Event, ...]) -> None:
    """Between import and port the server is what is waited for."""
    rows = shown(unfold(serving)[-1], 2.0).splitlines()
    assert "  run   server       waiting until it listens on 127.0.0.1:8000            2.0 s" == rows[5]
    assert "waiting for the server  9.5 s, usually 14 s  interrupt to stop" == rows[-1]


def test_import_failure(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """The stage that failed, how it ended, and the finding as the design has it."""
    happened = (
        *importing[:-2],
        events.ImportBroke(
            1.3, 1.2, "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection refused"
        ),
        events.Exited(1.4, 1, "exit code 1", (REFUSED,)),
    )
    assert """\
masuka  app.main:app on 127.0.0.1:8000
  ok    database     PostgreSQL 18.4, masuka@127.0.0.1:5432                12 ms
  ok    port         8000 is free                                           1 ms
  ok    application  app/main.py defines app, uvicorn 0.54                  8 ms
  FAIL  import       sqlalchemy.exc.OperationalError: (psycopg2.Operatio…  1.2 s
  wait  server
  wait  ready        GET /health
failed after 1.4 s: exit code 1 while importing app.main  logs: %masuka_logs

error: PostgreSQL refused the connection at 127.0.0.1:5432          [pg-refused]
  → app/db.py:14   engine.connect()
  │ stderr:118     connection to server at "127.0.0.1", port 5432 failed:
  │                Connection refused
  = the app connects while it is imported, so it stopped before opening its port
  = fix: start the server:  sudo service postgresql start""" == shown(unfold(happened)[-1])


@pytest.mark.parametrize(
    ("expected", "more"),
    [
        (
            "failed after 7.6 s: exit code 1 before it listened  logs: %masuka_logs",
            (events.Exited(7.6, 1, "exit code 1"),),
        ),
        (
            """not ready after 48 s: nothing has moved for 40 s
still running  pid 4121  logs: %masuka_logs  stop it: %masuka_stop""",
            (events.Stalled(47.5, "nothing has moved for 40 s", ()),),
        ),
        ("stopping: interrupted", (events.Stopping(8.0, "interrupted"),)),
        (
            "stopped: gone after TERM",
            (events.Stopping(8.0, "interrupted"), events.Stopped(8.1, "gone after TERM", -15)),
        ),
        (
            "ended 1 min after it was ready: killed by SIGKILL  logs: %masuka_logs",
            (events.BecameReady(8.0, Answer(0.1, 200)), events.Exited(68.0, -9, "killed by SIGKILL")),
        ),
        (
            "no longer healthy: GET /health answered 503  pid 4121  logs: %masuka_logs",
            (events.BecameReady(8.0, Answer(0.1, 200)),
             events.BecameUnhealthy(9.0, Answer(0.1, 503), "GET /health answered 503")),
        ),
    ],
)  # fmt: skip
def test_outcomes(expected: str, more: tuple[Event, ...], unfold: Unfold, serving: tuple[Event, ...]) -> None:
    """Each end of a start is one or two lines that say what to do next."""
    panel = model(unfold((*serving, *more))[-1], 100.0, as_it_is)
    assert expected == "\n".join(panel.outcome)
    assert not panel.waiting


def test_a_refused_start_names_the_check(unfold: Unfold, checked: tuple[Event, ...]) -> None:
    """Nothing was spawned, and which check is to blame."""
    happened = (
        *checked[:2],
        events.CheckFinished(0.1, "database", "bad", "nothing listens on 127.0.0.1:5432", 0.1),
        events.CheckFinished(0.1, "port", "skip", "not looked at, because the database check failed", 0.0),
        events.Refused(0.2, (REFUSED,)),
    )
    lines = shown(unfold(happened)[-1]).splitlines()
    assert "  FAIL  database     nothing listens on 127.0.0.1:5432                    100 ms" == lines[1]
    assert "  skip  port         not looked at, because the database check failed" == lines[2]
    assert "not started: the database check failed" in lines


def test_notes_are_shown(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """A fact that the user should see once stands below the outcome."""
    state = unfold((*good_start, events.Noted(8.0, "the home folder is full, so the logs are in /tmp")))[-1]
    assert "note: the home folder is full, so the logs are in /tmp" == shown(state).splitlines()[-1]


def test_a_finding_is_the_one_of_the_design() -> None:
    """Title and code on the first line; the page is offered where there is one."""
    lines = finding_lines(REFUSED, explained=True)
    assert "error: PostgreSQL refused the connection at 127.0.0.1:5432          [pg-refused]" == lines[0]
    assert "  = more: %masuka_explain pg-refused" == lines[-1]


def test_a_command_is_never_cut() -> None:
    """A long command stands alone on its line, whole; one of several lines keeps them."""
    command = "/very/long/path/" * 8 + "python -m pip install diffusers"
    finding = replace(
        REFUSED, remedies=(Remedy("install it", command), Remedy("set it", '[env]\nA = "$A"', "cell"))
    )
    lines = finding_lines(finding)
    at = lines.index("  = fix: install it:")
    assert [f"      {command}", "  = fix: set it:", "      [env]", '      A = "$A"'] == lines[at + 1 :]


def test_a_deep_path_stands_alone() -> None:
    """A place too long for the column has its text on the next line; a caret stays below its character."""
    finding = replace(
        REFUSED,
        evidence=(
            EvidenceLine("app/api/v1/routers/documents/upload.py", 12, "return connect(url"),
            EvidenceLine("", None, "              ^"),
            EvidenceLine("stderr", 118, "SyntaxError: '(' was never closed"),
        ),
    )
    assert [
        "  → app/api/v1/routers/documents/upload.py:12",
        "                 return connect(url",
        "                               ^",
        "  │ stderr:118   SyntaxError: '(' was never closed",
    ] == finding_lines(finding)[1:5]


def test_the_short_error_text_has_what_to_do(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """Beside a panel: the title, the user's line, the fixes. Alone: all of it, and what was started."""
    state = unfold((*importing, events.Exited(5.0, 1, "exit code 1", (REFUSED,))))[-1]
    short = render_failure(state.findings, state, short=True)
    assert [
        "error: PostgreSQL refused the connection at 127.0.0.1:5432          [pg-refused]",
        "  → app/db.py:14   engine.connect()",
        "  = fix: start the server:  sudo service postgresql start",
    ] == short
    whole = render_failure(state.findings, state, short=False)
    assert [
        "masuka  app.main:app on 127.0.0.1:8000",
        "failed after 5.0 s: exit code 1 while importing app.main  logs: %masuka_logs",
        "",
        *finding_lines(REFUSED),
    ] == whole
    assert all(isinstance(line, str) for line in whole)


def test_a_failure_without_a_finding_still_speaks(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """IPython shows what is returned: it is never empty."""
    state = unfold((*importing, events.Exited(5.0, 1, "exit code 1")))[-1]
    assert render_failure((), state, short=True) == render_failure((), state, short=False)
    assert 2 == len(render_failure((), state, short=True))


HOSTILE = "\x1b[2J\x00\u202e日本語 \ud800" + "\U0001f642 x" * 300 + "\r\n\te\u0301"


def hostile_state(state: State) -> State:
    evil = Finding(
        "code",
        HOSTILE,
        HOSTILE,
        (
            EvidenceLine(HOSTILE, 7, HOSTILE),
            EvidenceLine("stderr", 10**9, HOSTILE),
            EvidenceLine("", None, HOSTILE),
        ),
        (HOSTILE,),
        (Remedy(HOSTILE), Remedy(HOSTILE, "true"), Remedy("x", "echo a\x1b[2J\u202eb")),
    )
    stages = tuple(replace(stage, text=HOSTILE) for stage in state.stages)
    return replace(
        state,
        target=HOSTILE,
        text=HOSTILE,
        stages=stages,
        findings=(evil,),
        notes=(HOSTILE,),
        log_tail=(HOSTILE,),
        answer=Answer(0.1, 200, name=HOSTILE, version=HOSTILE),
    )


@pytest.mark.parametrize("width", [20, 21, 33, 40, 79, 80, 100])
def test_no_line_is_wider_than_the_width(
    width: int, unfold: Unfold, good_start: tuple[Event, ...], importing: tuple[Event, ...]
) -> None:
    """Whatever the text and the state; only a command may be longer."""
    for state in [*unfold(good_start), *unfold((*importing, events.Exited(5.0, 1, "exit code 1")))]:
        for one in (state, hostile_state(state)):
            lines = panel_lines(model(one, 9.0, as_it_is), width, explained=lambda _: False)
            wide = [line for line in lines if columns(line) > width and not line.startswith("      ")]
            assert [] == wide
            assert not any(
                ord(c) < 0x20 or 0xD800 <= ord(c) < 0xE000 or c == "\u202e" for c in "".join(lines)
            )


def test_colour_changes_no_word(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """Without its colours a coloured text is the plain one."""
    import re

    for state in [*unfold(good_start), replace(unfold(good_start)[-1], findings=(REFUSED,))]:
        panel = model(state, 9.0, as_it_is)
        coloured = panel_lines(panel, 80, Ink(colour=True))
        assert panel_lines(panel) == [re.sub(r"\x1b\[[\d;]*m", "", line) for line in coloured]
        assert coloured != panel_lines(panel)


def test_everything_shown_is_masked(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """The model holds no text that has not gone through the masking."""
    state = replace(
        hostile_state(unfold(good_start)[-1]),
        target="s3cret",
        notes=("s3cret",),
        log_tail=("s3cret",),
        text="s3cret",
    )
    stages = tuple(replace(stage, text="s3cret") for stage in state.stages)
    finding = replace(REFUSED, title="s3cret", notes=("s3cret",))
    for phase in ("checking", "starting", "ready", "unhealthy", "stalled", "failed", "exited", "stopped"):
        one = replace(state, stages=stages, findings=(finding,), phase=phase)
        assert "s3cret" not in repr(model(one, 9.0, lambda text: text.replace("s3cret", "***")))


def test_a_thousand_updates_are_cheap(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """An update costs less than a millisecond; ten on a machine that is busy."""
    states = unfold(good_start)
    tail = tuple(f"INFO: line {number}" for number in range(20))
    began = time.perf_counter()
    for number in range(1_000):
        panel_lines(model(replace(states[number % len(states)], log_tail=tail), 9.0, as_it_is))
    assert 10.0 > time.perf_counter() - began


def test_packages_have_one_line(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """The smaller ones are left out where the names are long; an import of nothing slow counts its modules."""
    packages = (
        ("opentelemetry", 2.0),
        ("transformers", 1.0),
        ("sentence_transformers", 0.6),
        ("diffusers", 0.2),
    )
    state = unfold(good_start)[-1]
    shown_row = model(replace(state, importing=Importing("", 9, packages)), 9.0, as_it_is).rows[3]
    assert "opentelemetry 2.0, transformers 1.0" == shown_row.text
    shown_row = model(replace(state, importing=Importing("", 1_204, ())), 9.0, as_it_is).rows[3]
    assert "1,204 modules" == shown_row.text
