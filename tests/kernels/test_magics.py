"""The magics in a real kernel: what a notebook shows, what stops "Run all", and what survives."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import textwrap
from pathlib import Path

import psutil
import pytest

HEALTHY = """
    import os, sys
    from fastapi import FastAPI

    print("token", os.environ.get("API_TOKEN"), file=sys.stderr)
    app = FastAPI()

    @app.get("/health")
    def health():
        return {"status": "ok", "app": "Tried", "version": "1.2.3"}
"""
WAY = ["import", "server", "ready"]
HANGING = "import threading\nthreading.Event().wait()\n"


@pytest.fixture
def project(tmp_path):
    """Give a folder with a healthy main.py, and with broken.py and hanging.py beside it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "main.py").write_text(textwrap.dedent(HEALTHY))
    (folder / "broken.py").write_text("import os\nimport masuka_test_not_there\n")
    (folder / "hanging.py").write_text(HANGING)
    return folder


@pytest.fixture
def cell(project, free_port):
    """Give a start cell that shows text; the panel has tests of its own (test_panel.py)."""

    def cell(app: str = "main:app", more: str = "") -> str:
        text = f'%%masuka_start --text\napp = "{app}"\ncwd = "{project}"\nport = {free_port}\ndatabase = false\n{more}'
        return text.strip() + "\n"

    return cell


@pytest.fixture(scope="module")
def notebook(kernel):
    """Give the module's kernel with the extension loaded."""
    assert kernel.run("%load_ext masuka_magic").status == "ok"
    return kernel


@pytest.fixture(autouse=True)
def _stopped(request):
    yield
    if "notebook" in request.fixturenames:
        request.getfixturevalue("notebook").run(
            "from masuka_magic.session import current_session as _s\n"
            "for _b in _s().backends.values(): _b.kill_now(); _b.stop()\n"
            "_s().backends.clear()"
        )


def alive(pid: int) -> bool:
    """Tell a living process from a zombie: the first process of a container may never reap."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def plain(lines: tuple[str, ...]) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))


def test_a_start_is_shown_and_the_names_are_given(notebook, cell):
    """Each stage once, the ready line last; `masuka` and the Popen are in the namespace."""
    run = notebook.run(cell())
    assert (run.status, run.error) == ("ok", None)
    words = [line.split()[:2] for line in run.stdout.splitlines()[1:-1]]
    stages = [stage for word, stage in words if word != "run"]
    checks = stages[: -len(WAY)]
    assert stages[-len(WAY) :] == WAY
    # Checks run side by side: each line comes when its check has finished.
    assert len(checks) == len(set(checks))
    assert {"database", "port"} <= set(checks)
    assert "Tried 1.2.3, GET /health answered 200" in run.stdout
    assert run.stdout.splitlines()[-1].startswith("ready in ")
    seen = notebook.run(
        "print(type(backend_process).__name__, backend_process.poll(), masuka.state, masuka.pid)"
    )
    assert seen.stdout.split()[:3] == ["Popen", "None", "ready"]
    assert max(map(len, run.stdout.splitlines())) <= 80


def test_cells_after_a_failure_do_not_run(notebook, cell):
    """StartFailed stops "Run all"; its text is the finding and nothing of IPython's traceback."""
    failing, after = notebook.run_all([cell("broken:app"), "print('ran')"])
    assert (failing.status, after.status) == ("error", "aborted")
    assert failing.error.ename == "StartFailed"
    text = plain(failing.error.traceback)
    assert "[missing-module]" in text
    assert "broken.py:2   import masuka_test_not_there" in text
    assert "-m pip install masuka_test_not_there" in text
    assert "Traceback (most recent call last)" not in text
    assert "ran" not in after.stdout


def test_bad_input_is_one_line_and_starts_nothing(notebook, cell):
    """The place, the value and the nearest name; "Run all" stops."""
    failing, after = notebook.run_all([cell(more="prot = 1\n"), "print('ran')"])
    assert (failing.status, failing.error.ename, after.status) == ("error", "UsageError", "aborted")
    assert failing.error.evalue == 'cell: unknown key "prot", did you mean "port"?'
    assert notebook.run("%masuka_status").error.evalue.startswith("no backend was started")


def test_an_interrupt_stops_what_was_started(notebook, cell, wait_until):
    """The process is gone, one line says so, and the cells after it do not run."""
    sent = notebook.send(cell("hanging:app"))
    notebook.wait_for_output(sent, "importing hanging")
    pid = wait_until(
        lambda: next((p.pid for p in notebook.processes.running() if "hanging:app" in p.cmdline()), None)
    )
    notebook.interrupt()
    (run,) = notebook.results([sent])
    assert (run.status, run.error.ename) == ("error", "StartInterrupted")
    assert plain(run.error.traceback).startswith("interrupted: stopped in ")
    assert not alive(pid)


def test_an_interrupt_of_another_cell_does_not_reach_the_backend(notebook, cell):
    """It runs in a session of its own."""
    notebook.run(cell())
    sent = notebook.send("import time\nprint('here', flush=True)\ntime.sleep(60)")
    notebook.wait_for_output(sent, "here")
    notebook.interrupt()
    notebook.results([sent])
    assert notebook.run("print(masuka.state, backend_process.poll())").stdout.split() == ["ready", "None"]


def test_logs_are_shown_with_secrets_masked(notebook, cell):
    """%masuka_logs prints the captured stderr; --raw is the way to the very text."""
    notebook.run("HF = 'hf_secretsecretsecret'")
    notebook.run(cell(more='[env]\nAPI_TOKEN = "$HF"\n'))
    shown = notebook.run("%masuka_logs").stdout
    assert "token •••" in shown
    assert "hf_secretsecretsecret" not in shown
    assert "token hf_secretsecretsecret" in notebook.run("%masuka_logs --raw").stdout
    assert "Uvicorn running" in notebook.run("%masuka_logs --grep running").stdout
    assert "GET /health" in notebook.run("%masuka_logs --stdout").stdout
    saved = notebook.run("%masuka_logs --save here.log")
    assert saved.stdout.startswith("-- stderr: ")
    assert "hf_secretsecretsecret" not in (notebook.cwd / "here.log").read_text()


def test_logs_are_followed_until_the_interrupt(notebook, cell, free_port):
    """New lines come as they are written; an interrupt ends the following and is no error."""
    notebook.run(cell())
    sent = notebook.send("%masuka_logs --stdout --follow")
    notebook.wait_for_output(sent, "/health")
    with socket.create_connection(("127.0.0.1", free_port)) as connection:
        connection.sendall(b"GET /followed HTTP/1.0\r\n\r\n")
        notebook.wait_for_output(sent, "/followed")
    notebook.interrupt()
    (run,) = notebook.results([sent])
    assert (run.status, run.stdout.splitlines()[-1]) == ("ok", "-- no longer following")


def test_status_stop_and_restart(notebook, cell):
    """One glance for a person and for a program; a restart is a new process with the same configuration."""
    notebook.run(cell())
    seen = json.loads(notebook.run("%masuka_status --json").stdout)
    assert (seen["state"], seen["answer"]["name"]) == ("ready", "Tried")
    assert notebook.run("%masuka_status").stdout.startswith("backend  ready  http://127.0.0.1:")
    again = notebook.run("%masuka_restart")
    assert (again.status, "ready in" in again.displays[-1]["data"]["text/plain"]) == ("ok", True)
    assert int(notebook.run("print(masuka.pid)").stdout) != seen["pid"]
    assert notebook.run("%masuka_stop").stdout.startswith("backend: stopped in ")
    assert notebook.run("%masuka_stop").stdout == "backend was already stopped\n"
    assert notebook.run("print(masuka.state, backend_process.poll())").stdout.split()[0] == "stopped"


def test_a_rerun_reuses_and_a_changed_cell_restarts(notebook, cell):
    """The same cell again is answered at once by the same process; what changed is said."""
    notebook.run(cell())
    pid = notebook.run("print(masuka.pid)").stdout
    again = notebook.run(cell())
    assert "already running with the same configuration and code: reused" in again.stdout
    assert notebook.run("print(masuka.pid)").stdout == pid
    changed = notebook.run(cell(more='[env]\nX = "1"\n'))
    assert "restarted: env changed" in changed.stdout
    assert notebook.run("print(masuka.pid)").stdout != pid


def test_no_wait_returns_at_the_spawn(notebook, cell):
    """The cell ends while the backend still imports; its state is there to ask."""
    run = notebook.run(cell("hanging:app").replace("--text", "--text --no-wait"))
    assert run.status == "ok"
    assert notebook.run("print(masuka.state)").stdout == "starting\n"


def test_a_users_own_name_is_left_alone(notebook, cell):
    """`masuka` and `backend_process` are ours only while nobody else uses them."""
    notebook.run("masuka = 'mine'")
    try:
        run = notebook.run(cell())
        assert "`masuka` is a name of your own here and was left alone" in run.stdout
        assert notebook.run("print(masuka)").stdout == "mine\n"
    finally:
        notebook.run("del masuka")


def test_check_alone_starts_nothing(notebook, cell):
    """The verdicts, and no process."""
    run = notebook.run(cell().replace("%%masuka_start", "%%masuka_check"))
    assert run.status == "ok"
    assert "is free" in run.stdout
    assert run.stdout.splitlines()[-1] == "checked: nothing prevents a start"
    assert [p for p in notebook.processes.running() if "main:app" in p.cmdline()] == []


def test_help_lists_the_keys(notebook):
    """`-h` answers, in 80 columns."""
    shown = notebook.run("%masuka_start -h").stdout
    assert "--port" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_line_and_python_start_the_same(notebook, project, free_port):
    """One line, or one call; both return when it is ready."""
    line = f"%masuka_start main:app --text --cwd {project} --port {free_port} --database false"
    assert "ready in" in notebook.run(line).stdout
    call = f"b = masuka_magic.start('main:app', cwd={str(project)!r}, port={free_port}, database=False, text=True)"
    assert "reused" in notebook.run(f"import masuka_magic\n{call}").stdout
    assert notebook.run("print(b is masuka)").stdout == "True\n"


def test_loading_again_and_unloading_leave_nothing_doubled(start_kernel):
    """Twice, reload, unload: one set of magics, no hooks, then none."""
    kernel = start_kernel()
    count = "print(sum('masuka' in name for kind in get_ipython().magics_manager.magics.values() for name in kind))"
    hooks = "print(sum(map(len, get_ipython().events.callbacks.values())))"
    before = kernel.run(hooks).stdout
    kernel.run("%load_ext masuka_magic")
    first = kernel.run(count).stdout
    kernel.run_all(["%load_ext masuka_magic", "%reload_ext masuka_magic"])
    assert kernel.run(count).stdout == first
    assert kernel.run(hooks).stdout == before
    kernel.run("%unload_ext masuka_magic")
    assert kernel.run(count).stdout == "0\n"
    assert kernel.run("%load_ext masuka_magic").status == "ok"


def test_loading_is_quick_and_imports_nothing_heavy(start_kernel):
    """Under 30 ms in a running IPython: what a start needs is imported by a start."""
    kernel = start_kernel()
    kernel.run("import sys, time\nbefore = set(sys.modules)\nt = time.perf_counter()")
    kernel.run("%load_ext masuka_magic")
    heavy = "print(sorted({'requests', 'psycopg2', 'psutil', 'ipywidgets', 'tomllib'} & (set(sys.modules) - before)))"
    assert kernel.run(heavy).stdout == "[]\n"
    timing = """
import importlib, sys, time
for name in [n for n in sys.modules if n.startswith("masuka_magic")]: del sys.modules[name]
began = time.perf_counter(); module = importlib.import_module("masuka_magic")
module.load_ipython_extension(get_ipython()); print(time.perf_counter() - began)
"""
    assert min(float(kernel.run(timing).stdout) for _ in range(5)) < 0.030


@pytest.mark.parametrize("now", [False, True], ids=["graceful", "killed"])
def test_a_kernels_restart_leaves_the_backend_and_the_next_start_takes_its_place(start_kernel, cell, now):
    """The backend survives its kernel; the new kernel's start stops it after proof, and says so."""
    kernel = start_kernel()
    kernel.run("%load_ext masuka_magic")
    kernel.run(cell())
    pid = int(kernel.run("print(masuka.pid)").stdout)
    kernel.restart(now=now)
    assert alive(pid)
    kernel.run("%load_ext masuka_magic")
    run = kernel.run(cell())
    assert run.status == "ok", run.error
    assert f"pid {pid}, left by an earlier kernel: stopped in" in " ".join(run.stdout.split())
    assert not alive(pid)
    kernel.run("%masuka_stop")


def test_what_an_earlier_kernel_left_can_be_stopped(start_kernel, cell):
    """%masuka_stop in a new kernel stops it, proved by its record, and nothing else."""
    kernel = start_kernel()
    kernel.run("%load_ext masuka_magic")
    kernel.run(cell())
    pid = int(kernel.run("print(masuka.pid)").stdout)
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.restart(now=True)
    kernel.run("%load_ext masuka_magic")
    shown = kernel.run("%masuka_stop").stdout
    assert f"pid {pid}, left by an earlier kernel: stopped in" in shown
    assert not alive(pid)


def test_a_crash_after_ready_is_known_at_the_next_look(notebook, cell, wait_until):
    """The exit is noticed at once, without a probe; the status says how it ended."""
    notebook.run(cell())
    pid = int(notebook.run("print(masuka.pid)").stdout)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: notebook.run("print(masuka.state)").stdout == "exited\n")
    shown = notebook.run("%masuka_status").stdout
    assert "SIGKILL" in shown
    assert Path(notebook.run("print(masuka.stderr.path)").stdout.strip()).exists()
