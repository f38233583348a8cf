from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from masuka_magic.process import identity as identities
from masuka_magic.process.identity import (
    ProcessIdentity,
    boot_id,
    carries_run,
    exists,
    identify,
    is_alive,
    look_again,
    open_pidfd,
    parse_stat,
)

FIELDS = "R 7 8 9 0 -1 4194304 1 2 3 4 100 50 25 25 20 0 1 0 12345 4096 10 18446744073709551615"


@pytest.mark.parametrize("command", ["python", "a b", "a) R 1 (b", "(((", ")", ""])
def test_a_name_with_blanks_and_brackets_shifts_no_field(command: str) -> None:
    """The start time is read right whatever the process calls itself."""
    facts = parse_stat(f"42 ({command}) {FIELDS}\n".encode())
    assert facts is not None
    assert (42, 7, 9, 12345, False) == (facts.pid, facts.parent, facts.session, facts.start, facts.dead)
    assert 200 / os.sysconf("SC_CLK_TCK") == facts.cpu_s
    assert 10 * os.sysconf("SC_PAGE_SIZE") == facts.rss_bytes


def test_a_process_whose_first_thread_ended_is_alive() -> None:
    """State Z with a second thread is a process that runs on."""
    running = FIELDS.replace("R 7", "Z 7").replace("20 0 1 0", "20 0 2 0")
    zombie, process = (
        parse_stat(f"42 (x) {fields}".encode()) for fields in (FIELDS.replace("R 7", "Z 7"), running)
    )
    assert zombie is not None
    assert process is not None
    assert (True, False) == (zombie.dead, process.dead)


def test_a_real_process_with_an_odd_name(tmp_path) -> None:
    """The kernel's own line for a program named `a) R 1 (b` is read right."""
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "600"]) as child:
        try:
            facts = identities.look(child.pid)
            assert facts is not None
            assert os.getpid() == facts.parent
        finally:
            child.kill()


def test_a_zombie_exists_and_is_not_alive(wait_until) -> None:
    """Ended but not waited for: it holds its pid and runs nothing; waited for, it is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    identity = identify(child.pid)
    assert identity is not None
    wait_until(lambda: not is_alive(identity), what="the child's end")
    assert exists(identity)
    assert identity == identify(child.pid)
    child.wait()
    assert not exists(identity)
    assert identify(child.pid) is None


def test_another_start_or_boot_is_another_process() -> None:
    """Our own pid with a start time or a boot id that is not ours names nobody."""
    ours = identify(os.getpid())
    assert ours is not None
    assert is_alive(ours)
    for other in (replace(ours, start=ours.start + 1), replace(ours, boot_id="another")):
        assert not is_alive(other)
        assert look_again(other) is None
        assert open_pidfd(other) is None


def test_the_run_value_must_be_exactly_ours(family) -> None:
    """A longer value, a shorter one, and none at all are not ours."""
    run = family("ready()\nwait()\n")
    bare = family("ready()\nwait()\n", carries=False)
    pid = run.leader.pid
    assert [True, False, False, False] == [
        carries_run(pid, value) for value in (run.run, run.run[:-1], f"{run.run}x", "")
    ]
    assert [False, False] == [carries_run(bare.leader.pid, value) for value in (run.run, "")]


def test_what_cannot_be_told_is_not_denied(wait_until) -> None:
    """A zombie and a process that is gone show no environment: that is no answer."""
    child = subprocess.Popen([sys.executable, "-c", ""], env={**os.environ, "MASUKA_RUN": "/a/run"})
    identity = identify(child.pid)
    assert identity is not None
    wait_until(lambda: not is_alive(identity), what="the child's end")
    assert carries_run(child.pid, "/a/run") is None
    child.wait()
    assert carries_run(child.pid, "/a/run") is None


def test_a_pidfd_turns_readable_when_the_process_ends(family) -> None:
    """The descriptor is of exactly this process and tells its end."""
    run = family("ready()\nwait()\n")
    descriptor = open_pidfd(run.leader)
    assert descriptor is not None
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert [] == poll.poll(0)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert [(descriptor, select.POLLIN)] == poll.poll(20_000)
    finally:
        os.close(descriptor)


def test_psutil_tells_the_same_where_there_is_no_proc(family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc psutil answers the same questions, with a start in microseconds and a boot of its own."""
    run = family("ready()\nwait()\n")
    boot_id.cache_clear()
    # Undone here: the fixtures' own clean-up asks for the boot as well, and would keep the wrong one.
    with monkeypatch.context() as without_proc:
        without_proc.setattr(identities, "has_proc", lambda: False)
        identity = identify(run.leader.pid)
        assert identity is not None
        assert identity.boot_id.startswith("boot-")
        assert identity == identify(run.leader.pid)
        assert is_alive(identity)
        assert [True, False] == [carries_run(identity.pid, value) for value in (run.run, "other")]
        facts = look_again(identity)
        assert facts is not None
        assert (os.getpid(), identity.pid) == (facts.parent, facts.session)
        run.process.kill()
        run.process.wait()
        assert identify(run.leader.pid) is None
        assert not is_alive(ProcessIdentity(identity.pid, identity.start, identity.boot_id))
    boot_id.cache_clear()


def test_a_lack_of_descriptors_is_not_taken_for_an_end() -> None:
    """When /proc cannot be opened for want of a descriptor, that is raised: the process may well live."""
    code = (
        "import contextlib, os, resource\n"
        "from masuka_magic.process.identity import identify\n"
        "assert identify(os.getpid())\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n"
        "with contextlib.suppress(OSError):\n"
        "    while True: os.dup(2)\n"
        "try: identify(os.getpid())\n"
        "except OSError as error: print(error.strerror)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.check_output([sys.executable, "-c", code], env=environ, text=True)
    assert "Too many open files\n" == said
