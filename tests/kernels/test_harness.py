"""The kernel that the other tests here use must itself be trusted."""

from __future__ import annotations

import sys

import psutil
import pytest


def test_output_of_a_cell(kernel):
    """Prints, results and displays of a cell come back apart and in order."""
    run = kernel.run(
        "import sys\nfrom IPython.display import display\nprint('out'); print('err', file=sys.stderr)\n"
        "display({'text/plain': 'shown'}, raw=True)\n6 * 7"
    )
    assert run.status == "ok"
    assert run.error is None
    assert run.stdout == "out\n"
    assert run.stderr == "err\n"
    assert [one["data"]["text/plain"] for one in run.displays] == ["shown", "42"]
    assert 0 < run.seconds < 60


def test_same_interpreter_in_private_folders(kernel):
    """The kernel is of the interpreter under test and sees none of the user's folders."""
    run = kernel.run(
        "import os, sys\n"
        "print(sys.executable, os.getcwd(), os.environ['XDG_STATE_HOME'], get_ipython().ipython_dir)"
    )
    expected = [sys.executable, kernel.cwd, kernel.folder / "state", kernel.folder / "ipython"]
    assert " ".join(map(str, expected)) == run.stdout.strip()


def test_error_of_a_cell(kernel):
    """A cell that raises comes back with the name, the message and the traceback."""
    run = kernel.run("raise LookupError('not here')")
    assert run.status == "error"
    assert (run.error.ename, run.error.evalue) == ("LookupError", "not here")
    assert "not here" in run.error.traceback[-1]


def test_cells_behind_a_failure_do_not_run(kernel):
    """Cells that were queued behind one that fails are aborted, and the next one runs again."""
    first, failed, behind = kernel.run_all(["ran = 1", "1 / 0", "ran = 2"])
    assert [one.status for one in (first, failed, behind)] == ["ok", "error", "aborted"]
    assert behind.execution_count is None or behind.execution_count == failed.execution_count
    assert kernel.run("print(ran)").stdout == "1\n"


def test_interrupt_of_a_running_cell(kernel):
    """An interrupt ends the cell with KeyboardInterrupt and leaves the kernel usable."""
    cell = kernel.send("import time\nprint('waiting', flush=True)\ntime.sleep(60)")
    kernel.wait_for_output(cell, "waiting")
    kernel.interrupt()
    (run,) = kernel.results([cell])
    assert run.error.ename == "KeyboardInterrupt"
    assert run.seconds < 30
    assert kernel.run("print(1)").stdout == "1\n"


def test_a_cell_that_takes_too_long_fails_the_test(kernel):
    """A deadline that passes fails with what the cell had shown so far."""
    cell = kernel.send("import time\nprint('started', flush=True)\ntime.sleep(60)")
    kernel.wait_for_output(cell, "started")
    with pytest.raises(pytest.fail.Exception, match="started"):
        kernel.results([cell], timeout=0.2)
    kernel.interrupt()
    (run,) = kernel.results([cell])
    assert run.status == "error"


def test_what_comes_after_the_cell_is_kept(kernel):
    """Output that a thread sends when its cell has ended is found among the late messages."""
    run = kernel.run(
        "import threading\nfrom IPython.display import display\nshown = display('first', display_id=True)\n"
        "timer = threading.Timer(0.3, lambda: shown.update('second')); timer.start()"
    )
    assert run.status == "ok"
    kernel.wait_for(lambda: "update_display_data" in [one["msg_type"] for one in kernel.late])


@pytest.mark.parametrize("now", [False, True])
def test_restart_forgets_the_namespace(start_kernel, now):
    """After a restart, graceful or not, the kernel is a new process with an empty namespace."""
    one = start_kernel()
    before = one.pid
    one.run("kept = 1")
    one.restart(now=now)
    assert one.pid != before
    assert one.run("kept").error.ename == "NameError"


def test_what_a_killed_kernel_leaves_is_found_and_ended(start_kernel, wait_until):
    """A process in a session of its own outlives the kernel; closing finds it by its environment."""
    one = start_kernel()
    run = one.run(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "    start_new_session=True)\nprint(child.pid)"
    )
    child = psutil.Process(int(run.stdout))
    one.kill()
    assert [child.pid] == [process.pid for process in one.processes.running()]
    (line,) = one.close(grace_s=0.1)
    assert line.startswith(f"{child.pid}: ")
    wait_until(lambda: one.processes.running() == [], what="the end of the child")
