"""Waiting for descriptors, times and calls at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from masuka_magic.waiting import Waiter


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    waiter = Waiter()
    yield waiter
    waiter.close()


def test_a_call_from_another_thread_wakes_at_once(waiter: Waiter) -> None:
    """No timer has to pass before a call is run, and it is run in the waiting thread."""
    ran_in: list[int] = []
    threading.Thread(target=lambda: waiter.call(lambda: ran_in.append(threading.get_ident()))).start()
    waiter.after("never", 60, lambda: None)
    waiter.run_once()
    assert ran_in == [threading.get_ident()]


def test_many_calls_are_all_run_though_the_wake_is_full(waiter: Waiter) -> None:
    """A wake that cannot be written is no lost call."""
    ran: list[int] = []
    for i in range(20_000):
        waiter.call(partial(ran.append, i))
    waiter.run_once()
    assert ran == list(range(20_000))


def test_timers_run_when_due_and_can_be_replaced_and_cancelled(waiter: Waiter) -> None:
    """One timer a name; what is cancelled by an earlier callback of the same moment is not run."""
    ran: list[str] = []

    def cancel_the_other() -> None:
        ran.append("new")
        waiter.cancel("b")

    waiter.after("a", 60, lambda: ran.append("old"))
    waiter.after("a", 0.0, cancel_the_other)
    waiter.after("b", 0.0, lambda: ran.append("b"))
    began = time.monotonic()
    waiter.run_once()
    assert ran == ["new"]
    assert time.monotonic() - began < 30


def test_a_readable_descriptor_calls_back(waiter: Waiter) -> None:
    """A pidfd or a FIFO is watched by its number."""
    inner, outer = os.pipe()
    seen: list[bytes] = []
    waiter.on_readable(inner, lambda: seen.append(os.read(inner, 10)))
    os.write(outer, b"x")
    waiter.run_once()
    assert seen == [b"x"]
    os.close(inner)
    os.close(outer)


def test_a_call_after_the_end_is_harmless() -> None:
    """A prober that is late must not fall over a supervisor that has gone."""
    waiter = Waiter()
    waiter.close()
    waiter.call(lambda: None)
