"""What this kernel has started: start, reuse, restart, and the names in the user's namespace.

Knows neither IPython nor how anything is drawn: a view comes in as a value.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from masuka_magic.outcome import Outcome, StartFailed, StartInterrupted
from masuka_magic.state import OVER, State

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from masuka_magic.backend import Backend
    from masuka_magic.board import Board
    from masuka_magic.config.model import StartConfig, StartOptions
    from masuka_magic.reuse import Decision

_MISSING = object()


class View(Protocol):
    """What shows a start. `tick_s` is how often it wants to be drawn when nothing changes; None: not at all."""

    @property
    def tick_s(self) -> float | None: ...
    def update(self, state: State) -> None: ...
    def finish(self, state: State) -> None: ...
    def follow(self, board: Board) -> None:
        """Show, if it can, what becomes of the start after the cell has ended; called after `finish`."""
        ...

    def failure(self, state: State) -> list[str]:
        """Return what the cell's error text says beside, or instead of, this view."""
        ...


class Session:
    """The backends of one kernel, by name. Methods belong to the kernel's main thread."""

    def __init__(self) -> None:
        self.backends: dict[str, Backend] = {}
        self.namespace: MutableMapping[str, Any] | None = None
        self._given: dict[str, object] = {}

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
        running = self.backends.get(config.name)
        try:
            decision = self._decide(running, config, options)
            if running is not None and decision is not None and decision.reuse:
                return self._show_again(running, decision.text, view)
            backend = self._begin(config, self._make_room(running, config, decision))
        except KeyboardInterrupt:
            raise self._interrupted_early(running, config) from None
        return self._wait(backend, options, view)

    def check(self, config: StartConfig, view: View) -> State:
        """Run the checks alone; nothing is started and nothing is kept. An interrupt ends them."""
        backend = self._begin(config, [], only_check=True)
        try:
            state = _show(backend, view, _is_over)
        except KeyboardInterrupt:
            backend.ask_stop("interrupted")
            backend.wait_over()
            view.finish(backend.snapshot)
            raise
        view.finish(state)
        backend.settle()
        return state

    def restart(self, backend: Backend) -> Backend:
        """Stop the backend and start the same configuration again."""
        from masuka_magic.config.model import StartOptions
        from masuka_magic.show import choose_view

        options = StartOptions(restart=True)
        return self.start(backend.config, options, choose_view(options))

    # -- inside ----------------------------------------------------------------------------------------

    def _decide(self, running: Backend | None, config: StartConfig, options: StartOptions) -> Decision | None:
        """Decide about the backend of that name that runs; None when none does."""
        if running is None or running.over:
            return None
        from masuka_magic.reuse import changed_sources, decide, snapshot

        return decide(
            running.config,
            config,
            phase=running.state,
            changed_sources=changed_sources(running.sources, snapshot(config.cwd)),
            restart=options.restart,
            reuse=options.reuse,
        )

    def _show_again(self, running: Backend, text: str, view: View) -> Backend:
        shown = replace(running.snapshot, notes=(*running.snapshot.notes, text))
        view.update(shown)
        view.finish(shown)
        view.follow(running.board)
        self._offer_all(running)
        return running

    def _make_room(
        self, running: Backend | None, config: StartConfig, decision: Decision | None
    ) -> list[str]:
        """End what ran under this name, here or left by an earlier kernel; returns what to tell of it."""
        if running is not None:
            running.stop()
            return [] if decision is None else [decision.text]
        from masuka_magic.run import stop_left_over

        return stop_left_over(config=config)

    def _interrupted_early(self, running: Backend | None, config: StartConfig) -> StartInterrupted:
        """Answer an interrupt before the waiting: whatever has just begun is stopped."""
        begun = self.backends.get(config.name)
        if begun is not None and begun is not running:
            begun.stop()
            state = begun.snapshot
        else:
            state = replace(_new_state(config), phase="stopped", text="nothing was started")
        return StartInterrupted(Outcome("interrupted", state), f"interrupted: {state.text}")

    def _begin(self, config: StartConfig, notes: list[str], *, only_check: bool = False) -> Backend:
        from masuka_magic.backend import Backend
        from masuka_magic.board import Board
        from masuka_magic.preflight.choice import checks_for
        from masuka_magic.process.folder import FolderError
        from masuka_magic.reuse import snapshot
        from masuka_magic.run import Run
        from masuka_magic.supervisor import Supervisor

        sources = {} if only_check else snapshot(config.cwd)
        try:
            run = Run.create(config, os.environ, notes)
        except (FolderError, OSError) as error:
            raise _without_folder(config, error) from error
        board = Board(_new_state(config))
        held: list[Backend] = []

        def spawned(process: subprocess.Popen[bytes]) -> None:
            held[0].process = process
            self._offer("backend_process", process)

        supervisor = Supervisor(
            config,
            run,
            board,
            checks=checks_for(config, {**os.environ, **config.env}),
            environ=dict(os.environ),
            on_spawn=spawned,
            only_check=only_check,
        )
        backend = Backend(config, supervisor, board, self)
        backend.sources = sources
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
        if state.phase not in OVER:
            view.follow(backend.board)
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


def _new_state(config: StartConfig) -> State:
    return State(
        service=config.name,
        target=config.target.value,
        host=config.host,
        port=config.port,
        health_path=config.health.path,
    )


def _without_folder(config: StartConfig, error: Exception) -> StartFailed:
    """Fail a start that has no place for its logs: nothing is started blind."""
    from masuka_magic.endings import no_folder
    from masuka_magic.panel.text import render_failure

    state = replace(_new_state(config), phase="failed", findings=(no_folder(error),))
    lines = render_failure(state.findings, state, short=False)
    return StartFailed(Outcome("failed", state), tuple(lines))


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
