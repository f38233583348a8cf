"""When an answer means ready, how often to ask, and when nothing moves."""

from __future__ import annotations

import pytest

from masuka_magic.config.model import Health
from masuka_magic.events import Answer
from masuka_magic.readiness import FIRST_GAP_S, LONGEST_GAP_S, ProbeGaps, StallWatch, judge, read_answer


def answer(status: int | None, body: str = "", **more: str) -> Answer:
    if status is None:
        return Answer(seconds=0.1, error=more["error"])
    return read_answer(status, {"Location": more.get("location", "")}, body, 0.1)


@pytest.mark.parametrize(
    ("health", "got", "ready", "text"),
    [
        (Health(), answer(200), True, "GET /health answered 200"),
        (Health(), answer(404), False, "GET /health answered 404"),
        (Health(path="/x", status=204), answer(200), False, "GET /x answered 200, expected 204"),
        (Health(), answer(307, location="/health/"), False, "GET /health answered 307 to /health/"),
        (Health(), answer(None, error="connection refused"), False, "GET /health: connection refused"),
        (
            Health(json={"status": "ok"}),
            answer(200, '{"status": "ok", "more": 1}'),
            True,
            "GET /health answered 200",
        ),
        (
            Health(json={"status": "ok"}),
            answer(200, '{"status": "loading"}'),
            False,
            'GET /health answered 200, but status is "loading", expected "ok"',
        ),
        (
            Health(json={"a": {"b": 1}}),
            answer(200, '{"a": {}}'),
            False,
            "GET /health answered 200, but without 'a.b'",
        ),
        (
            Health(json={"a": 1}),
            answer(200, '{"a": true}'),
            False,
            "GET /health answered 200, but a is true, expected 1",
        ),
        (Health(json={"a": 1}), answer(200, "<html>"), False, "GET /health answered 200, but not in JSON"),
        (
            Health(json={"a": 1}),
            answer(200, "[1]"),
            False,
            "GET /health answered 200, but with a JSON list, not an object",
        ),
    ],
)
def test_an_answer_is_held_against_what_was_expected(
    health: Health, got: Answer, ready: bool, text: str
) -> None:
    """Status and every expected JSON pair must be there; the text says what was asked and what came."""
    verdict = judge(got, health)
    assert (verdict.ready, verdict.text) == (ready, text)


@pytest.mark.parametrize(
    ("body", "name", "version"),
    [
        ('{"app": "MASUKA V2", "version": "2.0.0"}', "MASUKA V2", "2.0.0"),
        ('{"name": "x", "version": 3}', "x", "3"),
        ('{"title": "t", "app": {"nested": 1}}', "t", None),
        ("[]", None, None),
        ("{broken", None, None),
    ],
)
def test_the_backend_names_itself(body: str, name: str | None, version: str | None) -> None:
    """Name and version come from the health answer's own words, where they are plain."""
    got = read_answer(200, {}, body, 0.0)
    assert (got.name, got.version) == (name, version)


def test_gaps_grow_from_10_ms_to_250_ms_and_restart() -> None:
    """A probe is late by at most about a tenth of the waiting so far."""
    gaps = ProbeGaps()
    seen = [gaps.next_gap_s() for _ in range(60)]
    assert (seen[0], seen[-1]) == (FIRST_GAP_S, LONGEST_GAP_S)
    assert all(
        later <= sum(seen[: i + 1]) / 10 + FIRST_GAP_S + 1e-9
        for i, later in enumerate(seen[1:])
        if later < 0.25
    )
    gaps.restart()
    assert gaps.next_gap_s() == FIRST_GAP_S


def test_work_text_and_imports_are_movement_until_the_port_listens() -> None:
    """Before it listens anything that happens counts; idle processors and repeated lines do not."""
    watch = StallWatch(stall_s=40, moved_at=0.0)
    watch.worked(1.0, 0.04)
    assert watch.moved_at == 0.0
    watch.worked(2.0, 0.05)
    assert watch.moved_at == 2.0
    assert watch.wrote(3.0, ["retry 1 of 5"])
    assert not watch.wrote(4.0, ["retry 2 of 5"])
    assert watch.moved_at == 3.0
    watch.imported(5.0)
    assert (watch.moved_at, watch.due_at()) == (5.0, 45.0)


def test_once_it_listens_only_a_changing_answer_is_movement() -> None:
    """A server that works and logs but never answers otherwise is stuck."""
    watch = StallWatch(stall_s=40, moved_at=0.0)
    watch.answered(1.0, answer(None, error="connection refused"))
    assert watch.moved_at == 0.0
    watch.answered(2.0, answer(503, '{"loaded": 1}'))
    watch.worked(3.0, 1.0)
    watch.wrote(4.0, ["new"])
    watch.answered(5.0, answer(503, '{"loaded": 2}'))
    assert watch.moved_at == 2.0
    watch.answered(6.0, answer(503, '{"loading": "vae"}'))
    assert watch.moved_at == 6.0
