from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from masuka_magic.process import identity as identities
from masuka_magic.process import stop as stopping
from masuka_magic.process.identity import identify, is_alive, look_again
from masuka_magic.process.stop import StopResult, stop_tree
from masuka_magic.process.tree import members

OWN_FILES = Path("/proc/self/fd")
IGNORE_TERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
STAY = "ready()\nwait()\n"


def test_a_leader_that_obeys_is_asked_and_reaped(family) -> None:
    """One TERM is enough: nothing is killed, and the exit code reaches the Popen."""
    run = family(STAY)
    result = run.stop()
    assert (True, (), ()) == (result.stopped, result.killed, result.left)
    assert -signal.SIGTERM == run.process.returncode
    assert [f"asked pid {run.leader.pid} to stop (TERM)"] == run.steps[:1]
    assert result.seconds < 5


def test_a_leader_that_ignores_term_is_killed_after_the_grace(family) -> None:
    """The grace is waited for, then comes KILL, without two further seconds for what was asked already."""
    run = family(IGNORE_TERM + STAY)
    result = run.stop(grace_s=0.4)
    assert (True, (run.leader.pid,), ()) == (result.stopped, result.killed, result.left)
    assert -signal.SIGKILL == run.process.returncode
    assert 0.4 <= result.seconds < 0.4 + stopping.REST_S


def test_the_second_interrupt_ends_the_grace(family, wait_until) -> None:
    """Once kill_now is set nothing is waited for any more."""
    run = family(IGNORE_TERM + STAY)
    kill_now = threading.Event()
    results: list[StopResult] = []
    thread = threading.Thread(target=lambda: results.append(run.stop(grace_s=60, kill_now=kill_now)))
    thread.start()
    wait_until(lambda: run.steps, what="the first step")
    asked_at = time.monotonic()
    kill_now.set()
    thread.join(20)
    assert (True, (run.leader.pid,)) == (results[0].stopped, results[0].killed)
    assert time.monotonic() - asked_at < 10


def test_kill_now_from_the_beginning_asks_nobody(family) -> None:
    """With kill_now set before the stop, the first signal is KILL."""
    run = family("signal.signal(signal.SIGTERM, lambda *_: ready('term'))\n" + STAY)
    kill_now = threading.Event()
    kill_now.set()
    assert run.stop(kill_now=kill_now).killed == (run.leader.pid,)
    assert not (run.folder / "term").exists()


def test_the_leader_stops_its_own_workers_first(family) -> None:
    """Workers get no signal of ours while the leader is stopping them in its own way."""
    run = family(
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: ready('worker-term'))\n"
        "    signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))\n"
        "    ready('worker')\n"
        "    wait()\n"
        "def stop(*_):\n"
        "    os.kill(pid, signal.SIGUSR1)\n"
        "    os.waitpid(pid, 0)\n"
        "    os._exit(7)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "while not os.path.exists(os.path.join(FOLDER, 'worker')):\n"
        "    time.sleep(0.01)\n" + STAY
    )
    result = run.stop()
    assert (True, ()) == (result.stopped, result.killed)
    assert run.process.returncode == 7
    assert not (run.folder / "worker-term").exists()


def test_a_child_whose_parent_died_is_found_and_asked(family) -> None:
    """A leader that forks and dies leaves a child that still carries the run."""
    run = family("if os.fork():\n    os._exit(0)\nos.setsid()\n" + STAY)
    child = run.named("ready")
    run.process.wait(20)
    result = run.stop()
    assert (True, (), ()) == (result.stopped, result.killed, result.left)
    assert not is_alive(child)


def test_a_daemon_that_left_group_and_session_is_stopped(family) -> None:
    """Forked twice, in a session of its own, its parent alive: the run value in its environment finds it."""
    run = family(
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
        f"    {IGNORE_TERM}"
        "    ready('daemon')\n"
        "    wait()\n"
        "os.wait()\n" + STAY
    )
    daemon = run.named("daemon")
    result = run.stop()
    assert (True, (daemon.pid,)) == (result.stopped, result.killed)
    assert not is_alive(daemon)


def test_grandchildren_without_the_value_are_remembered(family) -> None:
    """A grandchild with an emptied environment and a session of its own is ours by descent, also when its
    parents have died of the first TERM.
    """
    run = family(
        'code = \'import os, signal\\nos.setsid()\\nopen(os.sys.argv[1], "w").write(str(os.getpid()))\\n'
        "while True: signal.pause()'\n"
        "middle = ('import subprocess, sys, signal\\n'\n"
        "          'subprocess.Popen([sys.executable, \"-c\", sys.argv[1], sys.argv[2]], env={})\\n'\n"
        "          'while True: signal.pause()')\n"
        "path = os.path.join(FOLDER, 'grandchild')\n"
        "subprocess.Popen([sys.executable, '-c', middle, code, path], env={})\n" + STAY
    )
    run.wait_until(
        lambda: (run.folder / "grandchild").exists() and (run.folder / "grandchild").read_text("ascii")
    )
    grandchild = run.named("grandchild")
    assert grandchild in members(run.run, run.leader)
    result = run.stop()
    assert (True, (), ()) == (result.stopped, result.killed, result.left)
    assert not is_alive(grandchild)


def test_a_stopped_process_is_continued_so_that_it_can_obey(family, wait_until) -> None:
    """TERM waits in a process that SIGSTOP has stopped: it is continued, and ends by its own handler."""
    run = family("signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n" + STAY)
    os.kill(run.leader.pid, signal.SIGSTOP)

    def stopped() -> bool:
        facts = look_again(run.leader)
        assert facts is not None
        return facts.stopped

    wait_until(stopped, what="the stop")
    result = run.stop()
    assert (True, ()) == (result.stopped, result.killed)
    assert run.process.returncode == 7


def test_what_forks_on_and_on_is_killed_in_the_end(family) -> None:
    """Children that are born while the tree is being killed are killed too."""
    run = family(
        IGNORE_TERM + "ready()\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(0.5)\n"
        "        os._exit(0)\n"
        "    time.sleep(0.02)\n"
    )
    result = run.stop(grace_s=0.2)
    assert (True, ()) == (result.stopped, result.left)
    assert members(run.run, run.leader) == []


def test_gone_already_is_success(family) -> None:
    """A run without a living process is stopped, at once and without a step."""
    run = family("ready()\nos._exit(3)\n")
    run.process.wait(20)
    result = run.stop()
    assert (True, (), (), []) == (result.stopped, result.killed, result.left, run.steps)


def test_a_zombie_is_nothing_to_wait_for(family, wait_until) -> None:
    """A child that its parent never waits for holds nothing up."""
    run = family(
        "if os.fork() == 0:\n    ready('zombie')\n    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAY
    )
    run.wait_until((run.folder / "zombie").exists)
    zombie = identify(int((run.folder / "zombie").read_text("ascii")))
    assert zombie is not None
    wait_until(lambda: not is_alive(zombie), what="the child's end")
    assert identities.exists(zombie)
    assert [run.leader] == members(run.run, run.leader)
    result = run.stop(grace_s=0.1)
    assert (True, (run.leader.pid,)) == (result.stopped, result.killed)


def test_a_reused_pid_is_never_signalled(family, monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity whose pid has another start time belongs to somebody else: no signal is sent, by no way."""
    canary = family("signal.signal(signal.SIGTERM, lambda *_: ready('hit'))\n" + STAY, carries=False)
    old = replace(canary.leader, start=canary.leader.start - 1)
    assert identities.open_pidfd(old) is None
    for opened in (identities.open_pidfd, lambda _: None):
        monkeypatch.setattr(stopping, "open_pidfd", opened)
        result = stop_tree(
            f"{canary.run}-old",
            old,
            grace_s=0.2,
            kill_now=threading.Event(),
            on_step=canary.steps.append,
            reap=lambda: None,
        )
        assert (True, ()) == (result.stopped, result.killed)
        stop = stopping._Stop("none", old, threading.Event(), canary.steps.append, lambda: None)
        stop.send(old, signal.SIGKILL)
        stop.close()
    assert is_alive(canary.leader)
    assert not (canary.folder / "hit").exists()


def test_a_process_that_only_looks_alike_survives(family) -> None:
    """Same program, same arguments, a run value that begins with ours: it is another run, and lives on."""
    run = family(STAY)
    alike = subprocess.Popen(
        [sys.executable, *run.process.args[1:]],
        env={**os.environ, "MASUKA_RUN": f"{run.run}2", "XMASUKA_RUN": run.run},
        start_new_session=True,
    )
    try:
        seen = identify(alike.pid)
        assert seen is not None
        assert run.stop().stopped
        assert is_alive(seen)
    finally:
        alike.kill()
        alike.wait()


def test_without_pidfd_the_same_is_reached(family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no pidfd can be opened the proof is followed by a plain kill, and waiting goes on by looking."""
    monkeypatch.setattr(stopping, "open_pidfd", lambda _: None)
    run = family("if os.fork() == 0:\n    " + IGNORE_TERM + "    ready('child')\n    wait()\n" + STAY)
    child = run.named("child")
    result = run.stop()
    assert (True, (child.pid,)) == (result.stopped, result.killed)


def test_what_may_not_be_signalled_is_named(family, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of ours that took another user's rights is left, with the reason, and the rest is stopped."""

    def refuse(_descriptor: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    run = family(STAY)
    result = run.stop(grace_s=0.1)
    assert (False, (), ((run.leader.pid, "we may not send it SIGKILL"),)) == (
        result.stopped,
        result.killed,
        result.left,
    )


def test_no_descriptor_is_left_open(family) -> None:
    """A stop closes every pidfd that it opened."""
    run = family("for _ in range(5):\n    if os.fork() == 0:\n        wait()\n" + STAY)
    before = len(list(OWN_FILES.iterdir()))
    assert run.stop().stopped
    assert before == len(list(OWN_FILES.iterdir()))
