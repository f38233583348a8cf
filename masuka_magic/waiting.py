"""One thread's way of waiting for several things at once: descriptors, times, and calls from other threads.

Built on selectors rather than on asyncio: notebooks patch asyncio's loop classes for their own cells
(nest_asyncio), and what watches a backend must not depend on that. Knows nothing of backends.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Waiter:
    """Waits in `run_once` and calls back. All but `call` belong to the waiting thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._outer.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self.on_readable(self._inner.fileno(), self._run_calls)

    def on_readable(self, fd: int, callback: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def after(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back once in `delay_s` seconds; a timer of the same name is replaced."""
        self._timers[name] = (time.monotonic() + delay_s, callback)

    def cancel(self, *names: str) -> None:
        for name in names:
            self._timers.pop(name, None)

    def call(self, callback: Callable[[], None]) -> None:
        """Have the waiting thread call back soon. May be called from any thread, also after `close`."""
        self._calls.put(callback)
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody waits any more
            self._outer.send(b"!")

    def run_once(self) -> None:
        """Wait for the next descriptor, timer or call, and run all that is due."""
        due = min((at for at, _ in self._timers.values()), default=None)
        timeout_s = None if due is None else max(0.0, due - time.monotonic())
        for key, _ in self._selector.select(timeout_s):
            key.data()
        now = time.monotonic()
        for name, (at, callback) in list(self._timers.items()):
            # A callback before this one may have cancelled or replaced it.
            if at <= now and self._timers.get(name) == (at, callback):
                del self._timers[name]
                callback()

    def close(self) -> None:
        self._selector.close()
        self._inner.close()
        self._outer.close()

    def _run_calls(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._inner.recv(4096):
                pass
        while True:
            try:
                callback = self._calls.get_nowait()
            except queue.Empty:
                return
            callback()
