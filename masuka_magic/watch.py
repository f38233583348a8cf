"""Watches one backend from its spawn to its exit: reports, log growth, processor time, answers, stillness.

Belongs to the supervisor's thread: it sets timers, takes what comes, and publishes events. How a run ends is the
supervisor's matter.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from masuka_magic import events
from masuka_magic.prober import Prober
from masuka_magic.readiness import ProbeGaps, StallWatch, judge

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from masuka_magic.board import Board
    from masuka_magic.run import Run
    from masuka_magic.waiting import Waiter
    from masuka_magic.witness import Witness

#: How often the logs' sizes are looked at while a backend starts.
LOOK_S = 0.25
#: How often the tree's processor time and memory are taken while a backend starts.
SAMPLE_S = 1.0
#: Until the application is imported nobody can answer; asked all the same, in case its reports are lost.
IDLE_PROBE_S = 1.0
#: A server of these arguments lives on when the application's import breaks: it waits for an edit, or tries again.
SURVIVORS = frozenset({"--reload", "--workers", "-w"})
#: How long such a server is given to end after all, before the import's failure is the answer.
SURVIVED_IMPORT_S = 2.0
#: Liveness probes that must fail in a row: one slow answer is not an outage.
UNHEALTHY_AFTER = 2


class Watch:
    """Everything that is seen of a running backend. `on_exit` and `on_stalled` are called in the waiting thread."""

    def __init__(  # noqa: PLR0913 - the supervisor's own parts, each by its name
        self,
        run: Run,
        board: Board,
        witness: Witness,
        waiter: Waiter,
        *,
        on_exit: Callable[[], None],
        on_stalled: Callable[[str], None],
        on_ready: Callable[[], None],
    ) -> None:
        self._run = run
        self._config = run.config
        self._board = board
        self._witness = witness
        self._waiter = waiter
        self._on_exit = on_exit
        self._on_stalled = on_stalled
        self._on_ready = on_ready
        self._gaps = ProbeGaps()
        self._stall = StallWatch(self._config.stall_s, time.monotonic())
        self._asking = False
        self._ask_again = False
        self._failed_probes = 0
        self._cpu_before: tuple[float, float] | None = None
        self._prober: Prober | None = None

    def begin(self, process: subprocess.Popen[bytes]) -> None:
        """Watch a process that was spawned this moment."""
        self._stall.moved_at = time.monotonic()
        self._watch_exit(process)
        if self._run.wake_fd is not None:
            self._waiter.on_readable(self._run.wake_fd, self._woken)
        health = self._config.health
        self._prober = Prober(self._run.url + health.path, health.timeout_s, self._deliver)
        first = IDLE_PROBE_S if self._config.target.kind == "app" else self._gaps.next_gap_s()
        self._waiter.after("probe", first, self._probe)
        self._waiter.after("look", LOOK_S, self._look)
        self._waiter.after("sample", SAMPLE_S, self._sample)
        self._waiter.after("stall", self._config.stall_s, self._check_stall)
        self._waiter.after("max wait", self._config.max_wait_s, self._waited_enough)

    def end(self) -> None:
        """Set no more timers and ask no more questions."""
        self._waiter.cancel("probe", "probe limit", "look", "sample", "stall", "max wait", "import broke")
        if self._prober is not None:
            self._prober.close()

    @property
    def still_s(self) -> float:
        """Seconds since something moved."""
        return self._stall.still_s(time.monotonic())

    def read_reports(self) -> None:
        """Publish what the bootstrap has written since the last look."""
        for event in self._witness.read_reports():
            self._board.publish(event)
            self._stall.imported(event.at)
            if isinstance(event, events.ImportFinished):
                self._waiter.cancel("import broke")
                self._gaps.restart()
                if self._board.state.phase in {"starting", "stalled"}:
                    self._probe()
            elif isinstance(event, events.ImportBroke) and not SURVIVORS.isdisjoint(self._config.args):
                self._waiter.after("import broke", SURVIVED_IMPORT_S, self._survived_import)
        progress = self._witness.read_progress()
        if progress is not None and progress != self._board.state.importing:
            self._stall.imported(time.monotonic())
            self._board.publish(events.ImportProgressed(time.monotonic(), progress))

    def read_log(self) -> bool:
        """Publish the log's growth; say whether it holds new text."""
        grown = self._run.read_log_tail()
        if grown is None:
            return False
        size, tail, lines = grown
        self._board.publish(events.LogGrew(time.monotonic(), size, tail))
        return self._stall.wrote(time.monotonic(), lines)

    # -- what comes by itself --------------------------------------------------------------------------

    def _watch_exit(self, process: subprocess.Popen[bytes]) -> None:
        pidfd = self._run.open_pidfd()
        if pidfd is not None:
            self._waiter.on_readable(pidfd, self._on_exit)
            return

        # No pidfd here (macOS): a thread that waits for the child tells at once too.
        def wait() -> None:
            process.wait()
            self._waiter.call(self._on_exit)

        threading.Thread(target=wait, name="masuka-exit", daemon=True).start()

    def _woken(self) -> None:
        self._run.drain_wake()
        self.read_reports()

    # -- what is looked at -----------------------------------------------------------------------------

    def _look(self) -> None:
        self.read_reports()
        if self.read_log() and not self._importing:
            # "Application startup complete" and the like: something has come, perhaps what is waited for.
            self._gaps.restart()
            self._probe()
        starting = self._board.state.phase == "starting"
        self._waiter.after("look", LOOK_S if starting else SAMPLE_S, self._look)

    def _sample(self) -> None:
        now = time.monotonic()
        seconds, rss = self._run.usage()
        if self._cpu_before is not None:
            before_at, before_s = self._cpu_before
            cpu = max(0.0, seconds - before_s) / (now - before_at)
            self._stall.worked(now, cpu)
            self._board.publish(events.Sampled(now, rss, cpu))
        self._cpu_before = (now, seconds)
        self._waiter.after("sample", SAMPLE_S, self._sample)

    def _glance(self) -> None:
        """Bring memory and log up to date, for what is looked at rarely."""
        self.read_log()
        self._board.publish(events.Sampled(time.monotonic(), self._run.usage()[1], 0.0))

    # -- what is asked ---------------------------------------------------------------------------------

    @property
    def _importing(self) -> bool:
        stage = self._board.state.stage(events.IMPORT)
        return stage is not None and stage.status == "run"

    def _probe(self) -> None:
        if self._prober is None:
            return
        if self._asking:
            self._ask_again = True
            return
        self._asking = True
        self._waiter.cancel("probe")
        self._prober.ask()
        self._waiter.after("probe limit", self._config.health.timeout_s, self._prober.abort)

    def _deliver(self, answer: events.Answer) -> None:
        """Take an answer in the prober's thread and pass it to ours."""
        self._waiter.call(lambda: self._answered(answer))

    def _answered(self, answer: events.Answer) -> None:
        self._waiter.cancel("probe limit")
        self._asking = False
        phase = self._board.state.phase
        if phase not in {"starting", "stalled", "ready", "unhealthy"}:
            return
        self.read_reports()
        verdict = judge(answer, self._config.health)
        answer, text, now = self._run.mask_answer(answer), self._run.mask(verdict.text), time.monotonic()
        if phase in {"ready", "unhealthy"}:
            self._judge_liveness(now, answer, ready=verdict.ready, text=text)
            return
        ready, note = verdict.ready, None
        if ready and self._config.health.owner == "ours":
            owner = self._run.prove_owner()
            self._witness.stranger = owner.note if owner.ours is False else None
            ready, note, text = owner.ours is not False, owner.note, owner.note or text
        if ready:
            self._became_ready(now, answer, note)
        else:
            self._stall.answered(now, answer)
            self._board.publish(events.Probed(now, answer, text))
            self._probe_later(answer)

    def _probe_later(self, answer: events.Answer) -> None:
        if self._ask_again:
            self._ask_again = False
            self._probe()
            return
        idle = self._importing and not answer.listening
        self._waiter.after("probe", IDLE_PROBE_S if idle else self._gaps.next_gap_s(), self._probe)

    def _became_ready(self, now: float, answer: events.Answer, note: str | None) -> None:
        self._waiter.cancel("stall", "max wait", "look", "sample", "import broke")
        self._ask_again = False
        self._board.publish(events.BecameReady(now, answer, note))
        self._glance()
        self._on_ready()
        self._next_liveness()

    def _next_liveness(self) -> None:
        if self._config.liveness_s > 0:
            self._waiter.after("probe", self._config.liveness_s, self._probe)

    def _judge_liveness(self, now: float, answer: events.Answer, *, ready: bool, text: str) -> None:
        self._failed_probes = 0 if ready else self._failed_probes + 1
        if ready:
            self._board.publish(events.BecameReady(now, answer))
        elif self._failed_probes >= UNHEALTHY_AFTER:
            self._board.publish(events.BecameUnhealthy(now, answer, text))
        self._glance()
        self._next_liveness()

    # -- what does not come ----------------------------------------------------------------------------

    def _check_stall(self) -> None:
        due_in = self._stall.due_at() - time.monotonic()
        if due_in > 0:
            self._waiter.after("stall", due_in, self._check_stall)
        else:
            self._give_up(f"nothing has moved for {self._config.stall_s:g} s")

    def _waited_enough(self) -> None:
        self._give_up(f"not ready after {self._config.max_wait_s:g} s")

    def _survived_import(self) -> None:
        self._give_up("the import broke, and the server lives on")

    def _give_up(self, text: str) -> None:
        if self._board.state.phase == "starting":
            self._glance()
            self._on_stalled(text)
