"""The panel as HTML: what each state shows, and that nothing foreign becomes markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from masuka_magic import events
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.events import Answer, Event, Importing, Layer
from masuka_magic.panel.html import body_html, panel_html
from masuka_magic.panel.model import PanelModel, model
from masuka_magic.panel.style import STYLE
from masuka_magic.state import State

Unfold = Callable[[Sequence[Event]], list[State]]

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\"><script>alert(1)</script><b a='",
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "</style></div></details><iframe src=javascript:alert(1)>",
    "&lt;script&gt; &amp; &#60;",
    "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07",
    "right\u202eleft\u2066",
    "javascript:alert(1)",
)
#: What the panel itself is made of; an element or attribute beside these came from outside.
ELEMENTS = {"div", "span", "code", "a", "details", "summary"}
ATTRIBUTES = {"class", "style", "role", "title", "href", "target", "rel"}
UNCLOSED = {"img", "br"}


class Reader(HTMLParser):
    """Reads the panel as a browser would: its elements, its visible text, and whether all is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in UNCLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def with_class(self, name: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.elements if name in attributes.get("class", "").split()]


def panel_of(state: State, later_s: float = 0.0) -> PanelModel:
    return model(state, state.at + later_s, str)


def read(state: State, later_s: float = 0.0) -> Reader:
    reader = Reader(body_html(panel_of(state, later_s)))
    assert [] == reader.open
    return reader


def finding(text: str) -> Finding:
    evidence = (EvidenceLine(text, 3, text), EvidenceLine("stderr", 1, text), EvidenceLine(text, None, text))
    return Finding(text, text, text, evidence, (text,), (Remedy(text, f"{text}\n{text}"), Remedy(text)))


@pytest.fixture
def failed(unfold: Unfold, importing: tuple[Event, ...]) -> State:
    """A start whose import broke, with the finding of a missing module."""
    found = Finding(
        "missing-module",
        "the module cv2 is not installed",
        "cv2",
        (
            EvidenceLine("app/resize.py", 2, "    import cv2"),
            EvidenceLine("stderr", 39, "No module named 'cv2'"),
        ),
        ("the backend runs with /usr/bin/python3",),
        (Remedy("install it", "python -m pip install opencv\npython -m pip check"),),
    )
    return unfold(
        (
            *importing,
            events.ImportBroke(5.0, 4.9, "No module"),
            events.Exited(5.1, 1, "exit code 1", (found,)),
        )
    )[-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_foreign_becomes_markup(unfold: Unfold, text: str) -> None:
    """Whatever the log, the packages, the answer, the checks and the findings say stays text."""
    start = (
        events.Begun(0.0, (text, "import", "server", "ready"), usual_s=3.0),
        events.CheckFinished(0.1, text, "bad", text, 0.1, (Layer(text, "bad", text, 0.1),)),
        events.Noted(0.1, text),
        events.Spawned(0.2, 77),
        events.ImportStarted(0.2, text),
        events.ImportProgressed(0.3, Importing(text, 3, ((text, 1.0),))),
        events.LogGrew(0.4, 60, (text, text)),
    )
    ready = (
        events.ImportFinished(1.5, 1.2, Importing("", 3, ((text, 1.0),))),
        events.BecameReady(1.6, Answer(0.1, 200, name=text, version=text, listening=True)),
    )
    states = [
        unfold(start)[-1],
        unfold((*start, events.ImportBroke(1.0, 0.8, text), events.Exited(1.1, 1, text, (finding(text),))))[
            -1
        ],
        unfold((*start, events.Stalled(9.0, text, (finding(text),))))[-1],
        unfold((*start, *ready))[-1],
        unfold((*start, *ready, events.BecameUnhealthy(3.0, Answer(0.1, 500, body=text), text)))[-1],
        unfold((*start, *ready, events.Stopping(3.0, text), events.Stopped(3.1, text)))[-1],
        unfold((*start, *ready, events.Exited(4.0, -9, text, (finding(text),))))[-1],
    ]
    for state in states:
        hostile = replace(state, target=f"{text}:app", host=text, health_path=text, service=text, url=text)
        reader = read(hostile)
        assert {tag for tag, _ in reader.elements} <= ELEMENTS
        names = {name for _, attributes in reader.elements for name in attributes}
        assert {name for name in names if not name.startswith("aria-")} <= ATTRIBUTES
        links = [attributes["href"] for tag, attributes in reader.elements if tag == "a"]
        assert [] == [link for link in links if not link.startswith(("http://", "https://"))]
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2066]", reader.text)


def test_every_output_brings_its_styles(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """An output is one element and its styles; nothing is fetched from anywhere."""
    html = panel_html(panel_of(unfold(good_start)[-1]))
    assert html.startswith(STYLE)
    assert "url(" not in html
    assert "@import" not in html
    assert "<script" not in html


def test_ready_is_two_lines(unfold: Unfold, good_start: tuple[Event, ...]) -> None:
    """The name, the address and where to look; the stages wait behind one line."""
    reader = read(unfold(good_start)[-1])
    head, _, story = reader.text.partition("where the time went")
    assert "✓MASUKA V2 2.0.0 is readyready in 7.6 s http://127.0.0.1:8000 pid 4121 logs: %masuka_logs" == head
    assert "checks 21 ms" in story
    assert "torch 2.0 s" in story
    assert ["status"] == [one["role"] for one in reader.with_class("mk-ok") if one["class"].startswith("mk ")]
    assert [("a", "http://127.0.0.1:8000")] == [(tag, a["href"]) for tag, a in reader.elements if tag == "a"]


def test_an_address_that_the_reader_cannot_reach_is_no_link(
    unfold: Unfold, good_start: tuple[Event, ...]
) -> None:
    """Where the notebook runs elsewhere, 127.0.0.1 is another machine."""
    reader = Reader(body_html(panel_of(unfold(good_start)[-1]), link=False))
    assert "http://127.0.0.1:8000" in reader.text
    assert [] == [tag for tag, _ in reader.elements if tag == "a"]


def test_progress_is_measured_against_the_history(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """A third of the usual time is a third of the bar; without a history nothing is claimed."""
    state = unfold(importing)[-1]
    (bar,) = read(state).with_class("mk-bar")
    assert ("progressbar", "34") == (bar["role"], bar["aria-valuenow"])
    (bar,) = read(replace(state, usual_s=None)).with_class("mk-bar")
    assert ("progressbar", None) == (bar["role"], bar.get("aria-valuenow"))
    (late,) = read(state, later_s=100.0).with_class("mk-bar")
    assert "97" == late["aria-valuenow"]


def test_nothing_jumps_while_it_runs(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """From the spawn to the last line of the log the panel has the same lines."""
    states = [state for state in unfold(importing) if state.phase == "starting"]
    shapes = {
        tuple(
            tag for tag, a in read(state).elements if "mk-logline" not in a.get("class", "") and tag != "span"
        )
        for state in [*states[:-1], replace(states[-1], log_tail=tuple("abcdef"))]
    }
    without_label = {tuple(tag for tag in shape) for shape in shapes}
    assert 1 >= max(map(len, without_label)) - min(map(len, without_label))
    assert 4 == len(read(replace(states[-1], log_tail=tuple("abcdef"))).with_class("mk-logline"))


def test_a_failure_leads_with_the_cause(failed: State) -> None:
    """Cause, the user's line (marked), the log's line, facts, fixes, then the stages and the log."""
    reader = read(failed)
    told = [
        "Did not come up",
        "the module cv2 is not installed",
        "[missing-module]",
        "app/resize.py",
        "    import cv2",
        "stderr",
        "No module named 'cv2'",
        "the backend runs with",
        "fix: install it",
        "python -m pip install opencv\npython -m pip check",
        "PostgreSQL 18.4",
        "loading configuration",
    ]
    places = [reader.text.find(text) for text in told]
    assert sorted(places) == places
    assert -1 not in places
    assert 1 == len(reader.with_class("mk-hit"))
    assert ["alert"] == [one["role"] for one in reader.with_class("mk-bad") if one["class"].startswith("mk ")]


def test_a_failed_check_shows_its_layers(unfold: Unfold, checked: tuple[Event, ...]) -> None:
    """The layers of a check are shown when it is not ok, and only then."""
    layers = (Layer("tcp", "ok", "accepts", 0.001), Layer("login", "bad", "refused", 0.01))
    bad = events.CheckFinished(0.02, "database", "bad", "login refused", 0.02, layers)
    good = replace(bad, status="ok", layers=layers[:1])
    refused = unfold((*checked[:2], bad, *checked[3:], events.Refused(0.1, (finding("x"),))))[-1]
    assert 1 == len(read(refused).with_class("mk-layers"))
    assert [] == read(unfold((*checked[:2], good, *checked[3:]))[-1]).with_class("mk-layers")


def test_a_state_is_never_shown_by_colour_alone(unfold: Unfold, importing: tuple[Event, ...]) -> None:
    """Every stage has a sign with a name; a broken stretch of the bar is striped."""
    reader = read(unfold(importing)[-1])
    words = [mark["aria-label"] for mark in reader.with_class("mk-mark")]
    assert ["ok", "ok", "ok", "run", "wait", "wait"] == words
    assert "repeating-linear-gradient" in STYLE
    assert "prefers-reduced-motion" in STYLE
    assert "prefers-color-scheme" in STYLE
