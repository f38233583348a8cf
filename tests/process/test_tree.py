from __future__ import annotations

import os
import subprocess
import sys
import time

from masuka_magic.process.identity import ProcessIdentity, boot_id, carries_run, identify, is_alive
from masuka_magic.process.tree import live_runs, members, usage

STAY = "ready()\nwait()\n"


def test_the_leader_comes_first(family) -> None:
    """A run's processes are listed with the leader before its children."""
    run = family("if os.fork() == 0:\n    ready('child')\n    wait()\n" + STAY)
    assert [run.leader, run.named("child")] == members(run.run, run.leader)


def test_a_session_counts_only_while_its_leader_is_there(family) -> None:
    """Without the run value, and with the leader reaped, nothing proves a process any more."""
    run = family("if os.fork():\n    signal.pause()\n    os._exit(0)\n" + STAY, carries=False)
    child = run.named("ready")
    assert [run.leader, child] == members(run.run, run.leader)
    run.process.kill()
    run.process.wait(20)
    assert is_alive(child)
    assert members(run.run, run.leader) == []


def test_a_leader_of_another_boot_proves_nothing(family) -> None:
    """The same pid and start time under another boot id is another process."""
    run = family(STAY, carries=False)
    assert members(run.run, ProcessIdentity(run.leader.pid, run.leader.start, "another")) == []


def test_nobody_is_a_member_of_no_run() -> None:
    """An empty run value matches no process, in particular not all that lack the variable."""
    assert members("", None) == []


def test_we_are_never_our_own_member(monkeypatch) -> None:
    """The process that looks is left out, also when it carries the value itself."""
    code = (
        "import os\n"
        "from masuka_magic.process.tree import members\n"
        "from masuka_magic.process.identity import identify\n"
        "print(members('/run/self', identify(os.getpid())))"
    )
    environ = {**os.environ, "MASUKA_RUN": "/run/self", "PYTHONPATH": os.pathsep.join(sys.path)}
    assert "[]" == subprocess.check_output([sys.executable, "-c", code], env=environ, text=True).strip()


def test_living_runs_are_seen(family) -> None:
    """The run values that living processes carry are listed, those of the dead are not."""
    run = family(STAY)
    assert run.run in live_runs()
    run.stop()
    assert run.run not in live_runs()


def test_usage_counts_time_and_memory_of_the_tree(family, wait_until) -> None:
    """A busy child's processor time and memory are in the sum; a process that is gone counts nothing."""
    run = family("if os.fork() == 0:\n    ready('busy')\n    while True: pass\n" + STAY)
    busy = run.named("busy")
    wait_until(lambda: usage([busy])[0] >= 0.05, what="50 ms of processor time")
    seconds, rss = usage([run.leader, busy])
    assert seconds >= 0.05
    assert rss > 2_000_000
    assert usage([ProcessIdentity(busy.pid, busy.start - 1, boot_id())]) == (0.0, 0)


def test_three_hundred_processes_are_looked_at_quickly(wait_until) -> None:
    """A look at a tree of 300 processes takes well under a quarter of a second on a slow machine."""
    run = "/run/of/three-hundred"
    children = [subprocess.Popen(["sleep", "600"], env={"MASUKA_RUN": run}) for _ in range(300)]
    try:
        wait_until(lambda: all(carries_run(child.pid, run) for child in children), what="300 children")
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            found = members(run, None)
            seconds.append(time.perf_counter() - began)
        assert {child.pid for child in children} == {member.pid for member in found}
        assert sorted(seconds)[2] < 0.25
        assert usage(found)[1] > 0
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()
    assert identify(children[0].pid) is None
