"""Stop the processes of one run, and no other process in any interleaving.

The leader is asked first, alone: a server stops its own workers, and does it better than we could. What is
left then is asked too, and what is left after that is killed, until nothing is left. A signal goes through a
pidfd whose identity was proved after its opening; where there is none, it is sent right after the proof.
Never to a group, never by name, never by port. This room starts nothing, and reaps as it is told.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from masuka_magic.process.identity import ProcessIdentity, is_alive, look_again, open_pidfd
from masuka_magic.process.tree import members

if TYPE_CHECKING:
    import threading

#: What the leader did not stop by itself has this long to obey TERM.
REST_S = 2.0
#: What goes when the leader goes (multiprocessing's resource tracker) needs no signal, only a moment.
_SETTLE_S = 0.1
#: KILL takes effect at once, but for a process that waits for a device: it is not waited for without end.
KILL_BOUND_S = 5.0
#: How long one wait lasts before the second interrupt is seen: an Event cannot be polled beside a pidfd.
_TURN_S = 0.05
#: How often the whole tree is looked at while waiting: a look reads all of /proc.
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class StopResult:
    """What came of it. `stopped`: nothing of the run is alive, or never was.

    `killed` are the pids that needed KILL; `left` are those that live on, each with the reason.
    """

    stopped: bool
    killed: tuple[int, ...]
    left: tuple[tuple[int, str], ...]
    seconds: float


def stop_tree(  # noqa: PLR0913 - one call says all there is to say of a stop
    run: str,
    leader: ProcessIdentity | None,
    *,
    grace_s: float = 10.0,
    kill_now: threading.Event,
    on_step: Callable[[str], object],
    reap: Callable[[], object],
) -> StopResult:
    """Stop all that belongs to the run; returns when nothing is left, or what is left cannot be stopped.

    TERM to the leader and up to `grace_s` for it, TERM to the rest and 2 s, then KILL. `kill_now` ends all
    waiting, also when it is set meanwhile. `on_step` gets one line per step. `reap` is Popen.poll where the
    leader is our child; it is called often, so that a zombie of ours does not hold its pid and session.
    """
    stop = _Stop(run, leader, kill_now, on_step, reap)
    try:
        return stop.run_through(grace_s)
    finally:
        stop.close()


class _Stop:
    """One stop on its way: what was proved ours stays ours, also when what proved it is gone."""

    def __init__(
        self,
        run: str,
        leader: ProcessIdentity | None,
        kill_now: threading.Event,
        on_step: Callable[[str], object],
        reap: Callable[[], object],
    ) -> None:
        self.run, self.leader, self.kill_now, self.on_step, self.reap = run, leader, kill_now, on_step, reap
        self.began = time.monotonic()
        self.known: set[ProcessIdentity] = set()
        self.descriptors: dict[ProcessIdentity, int] = {}
        self.asked: set[ProcessIdentity] = set()
        self.killed: list[int] = []
        self.refused: dict[ProcessIdentity, str] = {}

    def close(self) -> None:
        for descriptor in self.descriptors.values():
            os.close(descriptor)

    def run_through(self, grace_s: float) -> StopResult:
        if not self.living():
            return self.result(())
        if self.leader in self.living() and not self.kill_now.is_set():
            self.ask_leader(self.leader, grace_s)
            self.wait(self.not_asked, _SETTLE_S)
        rest = self.living()
        fresh = [process for process in rest if process not in self.asked]
        if fresh and not self.kill_now.is_set():
            self.on_step(f"asked {_named(fresh)} that stayed behind to stop (TERM)")
            self.ask(fresh)
            self.wait(self.still_alive, REST_S)
        return self.result(self.kill())

    def ask_leader(self, leader: ProcessIdentity, grace_s: float) -> None:
        self.on_step(f"asked pid {leader.pid} to stop (TERM)")
        self.ask([leader])
        if self.wait(lambda: [leader] if is_alive(leader) else [], grace_s):
            self.on_step(f"pid {leader.pid} ended after {time.monotonic() - self.began:.1f} s")
        elif not self.kill_now.is_set():
            self.on_step(f"pid {leader.pid} did not stop within {grace_s:g} s")

    def still_alive(self) -> list[ProcessIdentity]:
        return [process for process in self.known if is_alive(process)]

    def not_asked(self) -> list[ProcessIdentity]:
        return [process for process in self.still_alive() if process not in self.asked]

    def living(self) -> list[ProcessIdentity]:
        """Look for what is alive now; remembers what it finds."""
        self.reap()
        found = members(self.run, self.leader)
        unlisted = [process for process in self.still_alive() if process not in found]
        self.known = {*found, *unlisted}
        return [*found, *unlisted]

    def ask(self, processes: Iterable[ProcessIdentity]) -> None:
        for process in processes:
            self.asked.add(process)
            self.send(process, signal.SIGTERM)
            self.wake_up(process)

    def wake_up(self, process: ProcessIdentity) -> None:
        """Continue a stopped process: TERM waits for that, KILL does not."""
        facts = look_again(process)
        if facts is not None and facts.stopped:
            self.send(process, signal.SIGCONT)

    def wait(self, pending: Callable[[], list[ProcessIdentity]], seconds: float) -> bool:
        """Wait until nothing is pending; False when the time is over or the second interrupt came."""
        until = time.monotonic() + seconds
        look_at = time.monotonic()
        while left := pending():
            remaining = until - time.monotonic()
            if remaining <= 0 or self.kill_now.is_set():
                return False
            self.wait_for_an_exit(left, min(remaining, _TURN_S))
            self.reap()
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_S
                # Forks are remembered while their parents prove them; one that was stopped again goes on.
                for process in self.living():
                    if process in self.asked:
                        self.wake_up(process)
        return True

    def wait_for_an_exit(self, processes: Iterable[ProcessIdentity], seconds: float) -> None:
        poll, watched = _poll(), False
        for process in processes:
            descriptor = self.descriptor(process)
            if descriptor is not None and poll is not None:
                poll.register(descriptor, select.POLLIN)
                watched = True
        if poll is not None and watched:
            poll.poll(seconds * 1000)
        else:
            self.kill_now.wait(min(seconds, _TURN_S / 2))

    def descriptor(self, process: ProcessIdentity) -> int | None:
        if process not in self.descriptors:
            opened = open_pidfd(process)
            if opened is None:
                return None
            self.descriptors[process] = opened
        return self.descriptors[process]

    def send(self, process: ProcessIdentity, number: signal.Signals) -> None:
        """Signal exactly this process. That it is gone already is success."""
        try:
            descriptor = self.descriptor(process)
            if descriptor is not None and sys.platform == "linux":
                signal.pidfd_send_signal(descriptor, number)
            elif is_alive(process):
                os.kill(process.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            self.refused[process] = f"we may not send it {number.name}"

    def kill(self) -> tuple[tuple[int, str], ...]:
        """Send KILL until nothing is left, new forks included; returns what it does not help against."""
        until = time.monotonic() + KILL_BOUND_S
        told = False
        while left := self.living():
            if not told:
                told = True
                self.on_step(f"killing {_named(left)} (KILL)")
            for process in left:
                self.send(process, signal.SIGKILL)
                if process.pid not in self.killed and process not in self.refused:
                    self.killed.append(process.pid)
            if all(process in self.refused for process in left) or time.monotonic() > until:
                return tuple((process.pid, self.reason(process)) for process in left)
            self.wait_for_an_exit(left, _TURN_S)
        return ()

    def reason(self, process: ProcessIdentity) -> str:
        lives_on = f"it is still there {KILL_BOUND_S:g} s after KILL, as one that waits for a device"
        return self.refused.get(process, lives_on)

    def result(self, left: tuple[tuple[int, str], ...]) -> StopResult:
        self.reap()
        seconds = time.monotonic() - self.began
        return StopResult(stopped=not left, killed=tuple(self.killed), left=left, seconds=seconds)


def _poll() -> select.poll | None:
    return select.poll() if hasattr(select, "poll") else None


def _named(processes: list[ProcessIdentity]) -> str:
    pids = ", ".join(str(process.pid) for process in processes[:5])
    more = f" and {len(processes) - 5} more" if len(processes) > 5 else ""  # noqa: PLR2004 - as above
    return f"{'pid' if len(processes) == 1 else 'pids'} {pids}{more}"
