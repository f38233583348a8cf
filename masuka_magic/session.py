"""What this kernel has started: start, reuse, restart, and the names in the user's namespace.

Knows neither IPython nor how anything is drawn: a view comes in as a value.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any, Protocol

from masuka_magic.outcome import Outcome, StartFailed, StartInterrupted
from masuka_magic.state import OVER, State

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from masuka_magic.backend import Backend
    from masuka_magic.config.model import StartConfig, StartOptions

_MISSING = object()


class View(Protocol):
    """What shows a start. `tick_s` is how often it wants to be drawn when nothing changes; None: not at all."""

    @property
    def tick_s(self) -> float | None: ...
    def update(self, state: State) -> None: ...
    def finish(self, state: State) -> None: ...
    def failure(self, state: State) -> list[str]:
        """Return what the cell's error text says beside, or instead of, this view."""
        ...


class Session:
    """The backends of one kernel, by name. Methods belong to the kernel's main thread."""

    def __init__(self) -> None:
        self.backends: dict[str, Backend] = {}
        self.namespace: MutableMapping[str, Any] | None = None
        self._given: dict[str, object] = {}
        self._notes: list[str] = []

    @property
    def latest(self) -> Backend | None:
        """The backend that was started last."""
        return next(reversed(self.backends.values()), None)

    def find(self, name: str | None) -> Backend | None:
        """Return the backend of that name, or the latest when there is no name."""
        return self.latest if name is None else self.backends.get(name)

    def start(self, config: StartConfig, options: StartOptions, view: View) -> Backend:
        """Start a backend, or reuse the one that runs; returns when it is ready.

        Raises StartFailed when it does not become ready, StartInterrupted after an interrupt stopped it.
        """
        from masuka_magic.reuse import changed_sources, decide, snapshot
        from masuka_magic.run import stop_left_over

        notes: list[str] = []
        running = self.backends.get(config.name)
        sources = snapshot(config.cwd)
        if running is not None and not running.over:
            decision = decide(
                running.config,
                config,
                phase=running.state,
                changed_sources=changed_sources(running.sources, sources),
                restart=options.restart,
                reuse=options.reuse,
            )
            if decision.reuse:
                from dataclasses import replace

                shown = replace(running.snapshot, notes=(*running.snapshot.notes, decision.text))
                view.update(shown)
                view.finish(shown)
                self._offer_all(running)
                return running
            notes.append(decision.text)
            running.stop()
        elif running is not None:
            running.settle()
        if running is None:
            notes += stop_left_over(config=config)
        backend = self._begin(config, notes)
        backend.sources = sources
        return self._wait(backend, options, view)

    def check(self, config: StartConfig, view: View) -> State:
        """Run the checks alone; nothing is started and nothing is kept."""
        backend = self._begin(config, [], only_check=True)
        for state in backend.states(view.tick_s):
            view.update(state)
            if state.phase in OVER:
                break
        view.finish(state)
        backend.settle()
        return state

    def restart(self, backend: Backend, view: View | None = None) -> Backend:
        """Stop the backend and start the same configuration again."""
        from masuka_magic.config.model import StartOptions
        from masuka_magic.show import choose_view

        options = StartOptions(restart=True)
        return self.start(backend.config, options, choose_view(options) if view is None else view)

    # -- inside ----------------------------------------------------------------------------------------

    def _begin(self, config: StartConfig, notes: list[str], *, only_check: bool = False) -> Backend:
        from masuka_magic.backend import Backend
        from masuka_magic.board import Board
        from masuka_magic.preflight.choice import checks_for
        from masuka_magic.run import Run
        from masuka_magic.supervisor import Supervisor

        run = Run.create(config, os.environ, notes)
        board = Board(
            State(
                service=config.name,
                target=config.target.value,
                host=config.host,
                port=config.port,
                health_path=config.health.path,
            )
        )
        held: list[Backend] = []

        def spawned(process: subprocess.Popen[bytes]) -> None:
            held[0].process = process
            self._offer("backend_process", process)

        supervisor = Supervisor(
            config,
            run,
            board,
            checks=checks_for(config),
            environ=dict(os.environ),
            on_spawn=spawned,
            only_check=only_check,
        )
        backend = Backend(config, supervisor, board, self)
        held.append(backend)
        if not only_check:
            self.backends.pop(config.name, None)  # so that the latest stands last
            self.backends[config.name] = backend
            self._offer("masuka", backend)
        supervisor.start()
        return backend

    def _wait(self, backend: Backend, options: StartOptions, view: View) -> Backend:
        settled = _settled(backend.config, wait=options.wait)
        interrupted = False
        while True:
            try:
                state = _show(backend, view, settled)
                break
            except KeyboardInterrupt:
                if interrupted:
                    backend.kill_now()
                interrupted = True
                backend.ask_stop("interrupted: stopping what was started (interrupt again to kill it now)")
                settled = _is_over
        view.finish(state)
        self._offer_all(backend)
        if interrupted:
            backend.settle()
            line = f"interrupted: {state.text or 'nothing was started'}"
            raise StartInterrupted(Outcome("interrupted", state), line)
        if state.phase in {"ready", "checking", "starting"}:
            return backend
        outcome = Outcome("stalled" if state.phase == "stalled" else "failed", state)
        raise StartFailed(outcome, tuple(view.failure(state)))

    def _offer_all(self, backend: Backend) -> None:
        self._offer("masuka", backend)
        if backend.process is not None:
            self._offer("backend_process", backend.process)

    def _offer(self, name: str, value: object) -> None:
        """Put the value into the user's namespace, unless the user uses the name for something else."""
        if self.namespace is None:
            return
        held = self.namespace.get(name, _MISSING)
        if held is _MISSING or held is self._given.get(name, _MISSING):
            self.namespace[name] = value
            self._given[name] = value

    def kept_names(self) -> tuple[str, ...]:
        """Name what the user's namespace uses for something else, so that it was left alone."""
        if self.namespace is None:
            return ()
        return tuple(
            name
            for name in ("masuka", "backend_process")
            if name in self.namespace and self.namespace[name] is not self._given.get(name, _MISSING)
        )


def _show(backend: Backend, view: View, settled: Callable[[State], bool]) -> State:
    for state in backend.states(view.tick_s):
        view.update(state)
        if settled(state):
            return state
    raise AssertionError("the states never end")


def _settled(config: StartConfig, *, wait: bool) -> Callable[[State], bool]:
    """Say when the cell has its answer: spawned, or settled; a stall that is answered by a stop ends with it."""
    if not wait:
        return lambda state: state.settled or state.phase == "starting"
    if config.on_stall == "stop":
        return lambda state: state.settled and state.phase != "stalled"
    return lambda state: state.settled


def _is_over(state: State) -> bool:
    return state.phase in OVER


_session: Session | None = None


def current_session() -> Session:
    """Return the one session of this process."""
    global _session  # noqa: PLW0603 - one kernel, one session; a reload of the extension must find it again
    if _session is None:
        _session = Session()
    return _session
