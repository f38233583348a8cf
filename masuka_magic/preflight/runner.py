"""Run checks: side by side where they are independent, in order where one requires another.

Knows no check by name and shows nothing: what happens is told to an observer, always from the calling thread,
so that an observer needs no lock. The checks themselves run in daemon threads: one that hangs in a system
call (a name server that does not answer) cannot hold up an interrupt, nor the end of the kernel.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from masuka_magic.preflight.check import Check, CheckContext, CheckResult

#: How late an interrupt may be noticed; results and progress lines are not delayed by it.
_CANCEL_GAP_S = 0.02

ContextFor = Callable[[Callable[[str], None]], CheckContext]


class Observer(Protocol):
    """Who is told what happens, check by check and in this order: started, progress lines, finished.

    A check that is skipped because of another one is finished without having been started.
    """

    def started(self, name: str) -> None: ...
    def progress(self, name: str, text: str) -> None: ...
    def finished(self, name: str, result: CheckResult) -> None: ...


def run_checks(
    checks: Sequence[Check], context_for: ContextFor, observer: Observer
) -> dict[str, CheckResult]:
    """Run every check once and return the results by name, in the order in which the checks were given.

    `context_for` takes the function that carries a progress line and makes the context of one check. When the
    `cancelled` of a running check's context is set, what has not finished is reported as skipped,
    "interrupted", and whatever it still says is dropped. Raises ValueError for a name that is given twice, a
    requirement that is not among the checks, and requirements that go round in a circle.
    """
    _prove_order(checks)
    run = _Run(context_for, observer)
    waiting = list(checks)
    while waiting or run.running:
        ready = [check for check in waiting if all(name in run.results for name in check.requires)]
        for check in ready:
            waiting.remove(check)
            run.begin(check)
        if not ready and not run.take_one():
            for name in [*run.running, *(check.name for check in waiting)]:
                run.finish(name, CheckResult("skip", "interrupted"))
            break
    return {check.name: run.results[check.name] for check in checks}


class _Run:
    """One call of run_checks: what runs, what has finished, and which names block those that require them."""

    def __init__(self, context_for: ContextFor, observer: Observer) -> None:
        self.results: dict[str, CheckResult] = {}
        self.running: dict[str, CheckContext] = {}
        self._context_for = context_for
        self._observer = observer
        self._blocked: set[str] = set()
        self._reports: queue.SimpleQueue[tuple[str, str | CheckResult]] = queue.SimpleQueue()

    def begin(self, check: Check) -> None:
        name = check.name
        lacking = [required for required in check.requires if required in self._blocked]
        if lacking:
            self._blocked.add(name)
            self.finish(name, CheckResult("skip", f"needs {', '.join(lacking)}"))
            return
        context = self._context_for(lambda text: self._reports.put((name, text)))
        self.running[name] = context
        self._observer.started(name)
        thread = threading.Thread(
            target=self._perform, args=(check, context), name=f"masuka-check-{name}", daemon=True
        )
        thread.start()

    def _perform(self, check: Check, context: CheckContext) -> None:
        begun = time.monotonic()
        try:
            result = check.run(context)
        except Exception as error:  # noqa: BLE001 - the edge: a bug in one check must not stop the start, nor be lost
            words = f"the check itself broke: {type(error).__name__}: {error}"
            result = CheckResult("warn", _masked(words, context))
        self._reports.put((check.name, replace(result, duration_s=time.monotonic() - begun)))

    def take_one(self) -> bool:
        """Wait for the next report and pass it on; False when the user has interrupted."""
        while not any(context.cancelled.is_set() for context in self.running.values()):
            try:
                name, report = self._reports.get(timeout=_CANCEL_GAP_S)
            except queue.Empty:
                continue
            if isinstance(report, CheckResult):
                self.finish(name, report)
            else:
                self._observer.progress(name, report)
            return True
        return False

    def finish(self, name: str, result: CheckResult) -> None:
        self.running.pop(name, None)
        self.results[name] = result
        if result.verdict == "fail":
            self._blocked.add(name)
        self._observer.finished(name, result)


def _masked(text: str, context: CheckContext) -> str:
    """Hide the configured secrets: an exception's words may hold a whole URL."""
    for secret in sorted(context.config.secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return " ".join(text.split())


def _prove_order(checks: Sequence[Check]) -> None:
    """Raise ValueError where the requirements allow no order."""
    names = [check.name for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two checks are called {twice[0]!r}")
    for check in checks:
        for required in check.requires:
            if required not in names:
                raise ValueError(f"check {check.name!r} requires {required!r}, which is not among the checks")
    left = list(checks)
    done: set[str] = set()
    while left:
        ready = [check for check in left if done.issuperset(check.requires)]
        if not ready:
            raise ValueError(f"checks require each other: {', '.join(sorted(check.name for check in left))}")
        done.update(check.name for check in ready)
        left = [check for check in left if check.name not in done]
