from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from masuka_magic.config.model import StartConfig
from masuka_magic.preflight.check import CheckContext, CheckResult
from masuka_magic.preflight.runner import run_checks

PASS = CheckResult("pass", "fine")


class Step:
    """A check made of a function."""

    def __init__(self, name: str, act: Callable[[CheckContext], CheckResult], *requires: str) -> None:
        self.name, self._act, self.requires = name, act, requires

    def run(self, context: CheckContext) -> CheckResult:
        return self._act(context)


class Notes:
    """An observer that writes down what it is told, and in which thread."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []
        self.threads: set[int] = set()

    def started(self, name: str) -> None:
        self._note("started", name)

    def progress(self, name: str, text: str) -> None:
        self._note("progress", name, text)

    def finished(self, name: str, result: CheckResult) -> None:
        self._note("finished", name, result.verdict, result.text)

    def _note(self, *words: str) -> None:
        self.lines.append(words)
        self.threads.add(threading.get_ident())


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def cancelled() -> threading.Event:
    return threading.Event()


@pytest.fixture
def context_for(make_config: Callable[..., StartConfig], cancelled: threading.Event):
    config = make_config(secrets=frozenset({"hunter22"}))
    return lambda progress: CheckContext(config, progress, cancelled)


def fine(_context: CheckContext) -> CheckResult:
    return PASS


def bad(_context: CheckContext) -> CheckResult:
    return CheckResult("fail", "broken")


def test_results_come_in_the_given_order_with_durations(context_for, notes) -> None:
    """Results stand in the order of the checks, each with the time it took."""

    def slow(context: CheckContext) -> CheckResult:
        context.cancelled.wait(0.05)
        return PASS

    results = run_checks([Step("slow", slow), Step("quick", fine)], context_for, notes)

    assert ["slow", "quick"] == list(results)
    assert results["slow"].duration_s >= 0.05
    assert 0.0 < results["quick"].duration_s < results["slow"].duration_s


def test_independent_checks_run_side_by_side(context_for, notes) -> None:
    """Two checks that wait for each other both finish."""
    both = threading.Barrier(2, timeout=20)

    def meet(_context: CheckContext) -> CheckResult:
        both.wait()
        return PASS

    results = run_checks([Step("one", meet), Step("two", meet)], context_for, notes)

    assert ["pass", "pass"] == [result.verdict for result in results.values()]


def test_a_requirement_comes_first(context_for, notes) -> None:
    """A check that requires another one starts after it, whatever the given order."""
    run_checks([Step("schema", fine, "database"), Step("database", fine)], context_for, notes)

    assert [
        ("started", "database"),
        ("finished", "database", "pass", "fine"),
        ("started", "schema"),
        ("finished", "schema", "pass", "fine"),
    ] == notes.lines


def test_what_depends_on_a_failure_is_skipped_with_the_reason(context_for, notes) -> None:
    """A failure skips what requires it, and what requires that; the reason names the direct requirement."""
    checks = [
        Step("database", bad),
        Step("schema", fine, "database"),
        Step("rows", fine, "schema"),
        Step("port", fine),
    ]

    results = run_checks(checks, context_for, notes)

    assert {
        "database": ("fail", "broken"),
        "schema": ("skip", "needs database"),
        "rows": ("skip", "needs schema"),
        "port": ("pass", "fine"),
    } == {name: (result.verdict, result.text) for name, result in results.items()}
    assert ("started", "schema") not in notes.lines


@pytest.mark.parametrize("verdict", ["skip", "warn"])
def test_a_check_that_skips_itself_or_warns_blocks_nothing(context_for, notes, verdict) -> None:
    """Only a failure cascades: "none configured" and a warning do not."""
    checks = [
        Step("database", lambda _: CheckResult(verdict, "none configured")),
        Step("next", fine, "database"),
    ]

    assert run_checks(checks, context_for, notes)["next"].verdict == "pass"


def test_progress_reaches_the_observer_before_the_result_and_in_the_calling_thread(
    context_for, notes
) -> None:
    """Everything is told in order and from one thread, so an observer needs no lock."""

    def talk(context: CheckContext) -> CheckResult:
        context.progress("waiting 1 s")
        context.progress("waiting 2 s")
        return PASS

    run_checks([Step("database", talk)], context_for, notes)

    assert [
        ("started", "database"),
        ("progress", "database", "waiting 1 s"),
        ("progress", "database", "waiting 2 s"),
        ("finished", "database", "pass", "fine"),
    ] == notes.lines
    assert {threading.get_ident()} == notes.threads


def test_progress_is_passed_on_while_the_check_still_runs(context_for) -> None:
    """A progress line is not kept until the check has finished."""
    told = threading.Event()

    class Listening(Notes):
        def progress(self, name: str, text: str) -> None:
            told.set()

    def talk(context: CheckContext) -> CheckResult:
        context.progress("waiting")
        return CheckResult("pass", "heard") if told.wait(20) else CheckResult("fail", "nobody listens")

    assert run_checks([Step("database", talk)], context_for, Listening())["database"].text == "heard"


def test_a_bug_in_a_check_is_a_warning_that_says_so(context_for, notes) -> None:
    """An exception neither stops the start nor disappears, and its words are masked."""

    def broken(_context: CheckContext) -> CheckResult:
        raise RuntimeError("no idea what\nhunter22 is")

    results = run_checks([Step("port", broken), Step("next", fine, "port")], context_for, notes)

    assert results["port"].verdict == "warn"
    assert results["port"].text == "the check itself broke: RuntimeError: no idea what *** is"
    assert results["next"].verdict == "pass"


def test_an_interrupt_stops_the_waiting_at_once(context_for, notes, cancelled) -> None:
    """What has not finished is skipped as interrupted, although its thread still hangs; what it says is lost."""
    release = threading.Event()

    def hang(context: CheckContext) -> CheckResult:
        cancelled.set()
        release.wait(20)
        context.progress("too late")
        return PASS

    begun = time.monotonic()
    try:
        results = run_checks([Step("dns", hang), Step("next", fine, "dns")], context_for, notes)
    finally:
        release.set()

    assert time.monotonic() - begun < 5.0
    assert {"dns": "interrupted", "next": "interrupted"} == {name: one.text for name, one in results.items()}
    assert [("started", "dns"), ("finished", "dns", "skip", "interrupted")] == notes.lines[:2]


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ([Step("a", fine), Step("a", fine)], "two checks are called 'a'"),
        ([Step("a", fine, "b")], "check 'a' requires 'b', which is not among the checks"),
        ([Step("a", fine, "b"), Step("b", fine, "a")], "checks require each other: a, b"),
    ],
)
def test_an_order_that_cannot_be_is_refused(context_for, notes, checks, message) -> None:
    """Names that occur twice, unknown requirements and circles are mistakes of the caller."""
    with pytest.raises(ValueError, match=message):
        run_checks(checks, context_for, notes)
    assert notes.lines == []
