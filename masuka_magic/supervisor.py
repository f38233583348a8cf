"""The one thread that drives a start and watches what came of it.

It checks, spawns, listens for the exit, the bootstrap's reports, the log's growth and the probes' answers, and
publishes events; what they come to is decided by the fold in events.py, by readiness.py and by diagnosis/.
It shows nothing and knows no notebook.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from masuka_magic import events
from masuka_magic.endings import describe_exit, describe_stop, not_spawned, own_fault
from masuka_magic.waiting import Waiter
from masuka_magic.watch import Watch
from masuka_magic.witness import Witness

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from masuka_magic.board import Board
    from masuka_magic.config.model import StartConfig
    from masuka_magic.preflight.check import Check, CheckResult, Checks, Verdict
    from masuka_magic.run import Run
    from masuka_magic.state import State

#: What a backend has to end by itself after TERM.
GRACE_S = 10.0


class Supervisor:
    """Drives one start in a thread of its own; `stop` may be called from any thread.

    `on_spawn` is called in that thread with the Popen, before anything else can be known of the process.
    """

    def __init__(  # noqa: PLR0913 - what a start is made of, each by its name
        self,
        config: StartConfig,
        run: Run,
        board: Board,
        *,
        checks: Checks,
        environ: Mapping[str, str],
        on_spawn: Callable[[subprocess.Popen[bytes]], None],
        only_check: bool = False,
    ) -> None:
        self.config = config
        self.run = run
        self.board = board
        self.kill_now = threading.Event()
        self._checks = checks
        self._environ = environ
        self._on_spawn = on_spawn
        self._only_check = only_check
        self._witness = Witness(run)
        self._cancelled = threading.Event()
        self._stop_text: str | None = None
        self._over = False
        self._waiter = Waiter()
        self._watch = Watch(
            run,
            board,
            self._witness,
            self._waiter,
            on_exit=self._exited,
            on_stalled=self._stalled,
            on_ready=self._became_ready,
        )
        self._thread = threading.Thread(target=self._main, name=f"masuka-{config.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the thread has ended; returns whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self, text: str) -> None:
        """Ask for a stop and return at once; the state turns `stopped` when everything of ours is gone."""
        self._stop_text = text
        self._cancelled.set()
        self._waiter.call(self._stop)

    # -- the way up ------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            if self._check() and self._spawn():
                while not self._over:
                    self._waiter.run_once()
        except Exception as error:  # noqa: BLE001 - an edge: a fault of ours must end in a state, not in silence
            self._broke(error)
        finally:
            self._watch.end()
            self.run.close()
            self._waiter.close()
            if self._only_check:
                self.run.discard()
            else:
                self.run.prune()

    def _publish(self, event: events.Event) -> State:
        return self.board.publish(event)

    def _check(self) -> bool:
        """Run the checks; say whether there is something to spawn."""
        stages = (*self._checks.names, *self._way())
        usual_s = None if self._only_check else self.run.usual_ready_s()
        self._publish(events.Begun(time.monotonic(), stages, usual_s, self._only_check))
        for note in self.run.notes:
            self._publish(events.Noted(time.monotonic(), note))
        self._publish(events.PortChosen(time.monotonic(), self.run.port, self.run.url))
        advisory = threading.Thread(
            target=self._run_checks, args=(self._checks.advisory,), name="masuka-advisory", daemon=True
        )
        advisory.start()
        results = self._run_checks(self._checks.needed)
        failed = [result.finding for result in results if result.verdict == "fail" and result.finding]
        if self._cancelled.is_set():
            self._end_unstarted(self._stop_text or "stopped")
        elif failed:
            self._publish(events.Refused(time.monotonic(), self._witness.masked(failed)))
        elif self._only_check:
            advisory.join()
            self._end_unstarted("checked", "checked")
        else:
            return True
        return False

    def _run_checks(self, checks: tuple[Check, ...]) -> list[CheckResult]:
        from masuka_magic.preflight.check import CheckContext
        from masuka_magic.preflight.runner import run_checks

        config = replace(self.config, port=self.run.port)
        seen = {**self._environ, **config.env}
        results = run_checks(
            checks,
            lambda progress: CheckContext(config, progress, self._cancelled, seen, str(self.run.path)),
            _CheckObserver(self._publish, self.run.mask),
        )
        return list(results.values())

    def _end_unstarted(self, text: str, came_to: str = "nothing was started") -> None:
        self._publish(events.Stopping(time.monotonic(), text))
        self._publish(events.Stopped(time.monotonic(), came_to))

    def _way(self) -> tuple[str, ...]:
        if self._only_check:
            return ()
        if self.config.target.kind == "app":
            return (events.IMPORT, events.SERVER, events.READY)
        return (events.SERVER, events.READY)

    def _spawn(self) -> bool:
        from masuka_magic.config.model import ConfigError
        from masuka_magic.process.spawn import SpawnError

        try:
            process = self.run.spawn(self._environ)
        except (SpawnError, ConfigError, OSError) as error:
            finding = not_spawned(error)
            self._publish(events.Refused(time.monotonic(), self._witness.masked([finding])))
            return False
        now = time.monotonic()
        self._publish(events.Spawned(now, process.pid))
        self._on_spawn(process)
        self._watch.begin(process)
        self._record("starting")
        return True

    # -- how it ends -----------------------------------------------------------------------------------

    def _became_ready(self) -> None:
        self._record("ready", ready_s=self.board.state.ready_s)
        self.run.prune()

    def _stalled(self, text: str) -> None:
        findings = self._witness.diagnose(self.board.state, still_s=self._watch.still_s, alive=True)
        self._publish(events.Stalled(time.monotonic(), text, findings))
        self._record("stalled")
        if self.config.on_stall == "stop":
            self.stop("stopped, because it stalled")

    def _exited(self) -> None:
        if self._over:
            return
        self._over = True
        returncode = self.run.reap()
        self._watch.read_reports()
        self._watch.read_log()
        ended = replace(self.board.state, returncode=returncode)
        findings = self._witness.diagnose(ended, still_s=self._watch.still_s, alive=False)
        phase = self._publish(
            events.Exited(time.monotonic(), returncode, describe_exit(returncode), findings)
        ).phase
        self._record(phase)
        self._sweep()

    def _sweep(self) -> None:
        """Stop what an exited backend left behind; nothing of a run outlives it without an owner."""
        left = self.run.members()
        if left and self.config.health.owner == "ours":
            result = self.run.stop_tree(grace_s=2.0, kill_now=self.kill_now, on_step=lambda _: None)
            self._publish(events.Noted(time.monotonic(), f"of what it left behind: {describe_stop(result)}"))

    def _stop(self) -> None:
        if self._over:
            return
        self._over = True
        self._watch.end()
        self._publish(events.Stopping(time.monotonic(), self._stop_text or "stopping"))
        result = self.run.stop_tree(
            grace_s=GRACE_S,
            kill_now=self.kill_now,
            on_step=lambda text: self._publish(events.Stopping(time.monotonic(), text)),
        )
        self._watch.read_log()
        returncode = self.run.reap()
        self._publish(events.Stopped(time.monotonic(), describe_stop(result), returncode))
        self._record("stopped")

    def _record(self, outcome: str, *, ready_s: float | None = None) -> None:
        refusal = self.run.write_record(outcome, ready_s=ready_s)
        if refusal is not None:
            self._publish(events.Noted(time.monotonic(), refusal))

    def _broke(self, error: Exception) -> None:
        """Turn a fault of our own into the state `failed`, with nothing of the backend left running."""
        with contextlib.suppress(OSError):
            self.run.stop_tree(grace_s=GRACE_S, kill_now=self.kill_now, on_step=lambda _: None)
        findings = self._witness.masked([own_fault(error)])
        now = time.monotonic()
        if self.board.state.phase == "checking":
            self._publish(events.Refused(now, findings))
        else:
            text = "stopped after a fault in masuka_magic"
            self._publish(events.Exited(now, self.run.reap(), text, findings))
            self._publish(events.Stopped(now, text))


class _CheckObserver:
    """Turns what the runner tells into events, with every text masked."""

    def __init__(self, publish: Callable[[events.Event], object], mask: Callable[[str], str]) -> None:
        self._publish = publish
        self._mask = mask

    def started(self, name: str) -> None:
        self._publish(events.CheckStarted(time.monotonic(), name))

    def progress(self, name: str, text: str) -> None:
        self._publish(events.CheckProgressed(time.monotonic(), name, self._mask(text)))

    def finished(self, name: str, result: CheckResult) -> None:
        status = _STATUS[result.verdict]
        text = self._mask(result.text)
        layers = tuple(
            events.Layer(layer.name, _STATUS[layer.verdict], self._mask(layer.text), layer.duration_s)
            for layer in result.layers
        )
        self._publish(events.CheckFinished(time.monotonic(), name, status, text, result.duration_s, layers))


_STATUS: dict[Verdict, events.StageStatus] = {"pass": "ok", "warn": "warn", "fail": "bad", "skip": "skip"}
