"""The panel in a real kernel: what is sent, by whom, what a saved notebook keeps, and what Colab would show."""

from __future__ import annotations

import os
import re
import signal
import textwrap

import pytest

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
HEALTHY = """
    from fastapi import FastAPI
    app = FastAPI()

    @app.get("/health")
    def health():
        return {"status": "ok", "app": "Tried <b>", "version": "1.2.3"}
"""
HANGING = "import threading, sys\nprint('<img src=x onerror=alert(1)>', file=sys.stderr)\nthreading.Event().wait()\n"
SHOWN = {"display_data", "update_display_data", "comm_open", "comm_msg"}


@pytest.fixture(scope="module")
def notebook(kernel):
    """Give the module's kernel with the extension loaded and its applications in its folder."""
    (kernel.cwd / "main.py").write_text(textwrap.dedent(HEALTHY))
    (kernel.cwd / "broken.py").write_text("import os\nimport masuka_test_not_there\n")
    (kernel.cwd / "hanging.py").write_text(HANGING)
    assert kernel.run("%load_ext masuka_magic").status == "ok"
    return kernel


@pytest.fixture
def start(free_port):
    """Give the line that starts one of the applications."""
    return lambda app="main", more="": f"%masuka_start {app}:app --port {free_port} --no-database {more}"


@pytest.fixture(autouse=True)
def _stopped(notebook):
    yield
    notebook.run(
        "from masuka_magic.session import current_session as _s\n"
        "for _b in _s().backends.values(): _b.kill_now(); _b.stop()\n"
        "_s().backends.clear()"
    )


def updates_of(messages, display_id):
    """Return the contents of the messages that replace this display."""
    contents = [one["content"] for one in messages if one["msg_type"] == "update_display_data"]
    return [one for one in contents if one["transient"]["display_id"] == display_id]


def test_one_output_in_three_forms(notebook, start):
    """Widget, HTML and text under one id; the last word is in all of them, and nothing is printed."""
    run = notebook.run(start())
    assert (run.status, run.stdout, run.stderr) == ("ok", "", "")
    first, *later = run.displays
    assert (first["update"], {one["update"] for one in later}) == (False, {True})
    assert len({one["transient"]["display_id"] for one in run.displays}) == 1
    assert set(first["data"]) == {WIDGET_VIEW, "text/html", "text/plain"}
    last = run.displays[-1]["data"]
    assert last[WIDGET_VIEW] == first["data"][WIDGET_VIEW]
    assert "Tried &lt;b&gt; 1.2.3" in last["text/html"]
    assert "<b>" not in last["text/html"]
    assert last["text/plain"].splitlines()[-1].startswith("ready in ")
    assert last["text/html"].startswith("<style>")


def test_the_widget_says_what_its_twin_says(notebook, start):
    """The picture that was sent to the widget last is the one in the saved copy."""
    run = notebook.run(start())
    sent = [
        one["content"]["data"]["state"]["value"]
        for one in run.messages
        if one["msg_type"] == "comm_msg" and "value" in one["content"]["data"].get("state", {})
    ]
    assert run.displays[-1]["data"]["text/html"].endswith(sent[-1])
    # Styles are sent once, with the widget; ten pictures a second would repeat them.
    assert [] == [value for value in sent if "<style>" in value]
    assert len(sent) <= 12 * max(run.seconds, 1.0)


def test_a_failure_is_told_by_the_panel_and_shortly_by_the_error(notebook, start):
    """Nothing of a widget stays of a run that is over; the error has the title, the user's line, the fixes."""
    run = notebook.run(start("broken"))
    assert (run.status, run.error.ename) == ("error", "StartFailed")
    last = run.displays[-1]["data"]
    assert set(last) == {"text/html", "text/plain"}
    assert "import masuka_test_not_there" in last["text/html"]
    assert "[missing-module]" in last["text/plain"]
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(run.error.traceback))
    assert "broken.py:2" in text
    assert "stderr" not in text
    opened = sum(one["msg_type"] == "comm_open" for one in run.messages)
    closed = sum(one["msg_type"] == "comm_close" for one in run.messages)
    assert opened == closed


def test_a_failed_check_needs_no_widget(notebook, free_port):
    """What is refused before the spawn is shown at once, as HTML alone."""
    run = notebook.run(
        "import socket; _s = socket.create_server(('127.0.0.1', 0)); _p = _s.getsockname()[1]\n"
        "get_ipython().run_line_magic('masuka_start', f'main:app --port {_p} --no-database')"
    )
    notebook.run("_s.close()")
    assert run.error.ename == "StartFailed"
    assert [set(one["data"]) for one in run.displays] == [{"text/html", "text/plain"}]
    assert "Not started" in run.displays[0]["data"]["text/html"]


def test_the_log_is_text_in_the_panel(notebook, start):
    """Markup that a backend writes is shown as it was written."""
    sent = notebook.send(start("hanging"))
    pending = notebook._pending[sent]
    notebook.wait_for(lambda: "onerror" in str(pending.messages))
    notebook.interrupt()
    (run,) = notebook.results([sent])
    assert run.error.ename == "StartInterrupted"
    assert "&lt;img src=x onerror=alert(1)&gt;" in str(run.messages)
    assert "<img" not in str(run.messages)


def test_a_death_is_pushed_and_sent_again_by_the_next_cell(notebook, start):
    """A front end that shows what comes between cells has it at once; Colab has it with the next cell."""
    run = notebook.run(start())
    display_id = run.displays[0]["transient"]["display_id"]
    pid = int(notebook.run("print(masuka.pid)").stdout)
    os.kill(pid, signal.SIGKILL)
    notebook.wait_for(lambda: updates_of(notebook.late, display_id))
    pushed = updates_of(notebook.late, display_id)[-1]["data"]
    assert set(pushed) == {"text/html", "text/plain"}
    assert "has ended" in pushed["text/html"]
    following = notebook.run("1")
    again = updates_of(following.messages, display_id)
    assert ["has ended" in one["data"]["text/html"] for one in again] == [True]
    # Once is enough.
    assert not updates_of(notebook.run("2").messages, display_id)


def test_a_start_that_is_not_waited_for_is_kept_up_to_date(notebook, start):
    """The panel of --no-wait becomes ready by itself, and says so to the next cell."""
    run = notebook.run(start(more="--no-wait"))
    display_id = run.displays[0]["transient"]["display_id"]
    notebook.wait_for(
        lambda: any("is ready" in one["data"]["text/html"] for one in updates_of(notebook.late, display_id))
    )
    again = notebook.run("1")
    assert "is ready" in updates_of(again.messages, display_id)[-1]["data"]["text/html"]
    shown = [one for one in again.messages if one["msg_type"] == "comm_msg"]
    assert "is ready" in str(shown)


def test_a_stop_ends_the_panel(notebook, start):
    """After %masuka_stop the output is HTML alone, sent in the cell that stopped it."""
    run = notebook.run(start())
    display_id = run.displays[0]["transient"]["display_id"]
    stopped = notebook.run("%masuka_stop")
    last = updates_of([*stopped.messages, *notebook.late], display_id)[-1]["data"]
    assert set(last) == {"text/html", "text/plain"}
    assert "Stopped" in last["text/html"]
    assert updates_of(stopped.messages, display_id)


def test_reuse_says_so_and_keeps_saying_it(notebook, start):
    """The second panel has the note, also after it was brought up to date."""
    notebook.run(start())
    again = notebook.run(start())
    assert "reused" in again.displays[-1]["data"]["text/html"]
    display_id = again.displays[0]["transient"]["display_id"]
    stopped = notebook.run("%masuka_stop")
    last = updates_of([*stopped.messages, *notebook.late], display_id)[-1]["data"]
    assert "reused" in last["text/html"]


def test_one_hook_from_the_first_panel_to_the_unloading(start_kernel, free_port):
    """Panels register one callback for all; unloading takes it away, and loading brings none."""
    kernel = start_kernel()
    (kernel.cwd / "main.py").write_text(textwrap.dedent(HEALTHY))
    count = "print(len(get_ipython().events.callbacks['post_run_cell']))"
    before = int(kernel.run(count).stdout)
    kernel.run("%load_ext masuka_magic")
    line = f"%masuka_start main:app --port {free_port} --no-database"
    assert [one.status for one in kernel.run_all([line, line, "%reload_ext masuka_magic", line])] == [
        "ok"
    ] * 4
    assert int(kernel.run(count).stdout) == before + 1
    kernel.run_all(["%masuka_stop", "%unload_ext masuka_magic"])
    assert int(kernel.run(count).stdout) == before


def test_without_ipywidgets_there_is_text(start_kernel, free_port):
    """Where ipywidgets is not installed, the lines are printed."""
    kernel = start_kernel()
    (kernel.cwd / "main.py").write_text(textwrap.dedent(HEALTHY))
    hide = (
        "import importlib.util as _u\n_f = _u.find_spec\n"
        "_u.find_spec = lambda name, *more: None if name == 'ipywidgets' else _f(name, *more)"
    )
    kernel.run_all(["%load_ext masuka_magic", hide])
    run = kernel.run(f"%masuka_start main:app --port {free_port} --no-database")
    assert run.displays == ()
    assert "ready in" in run.stdout
    kernel.run("%masuka_stop")


def test_with_ipywidgets_that_do_not_fit_there_is_html(start_kernel, free_port):
    """A broken installation breaks no start: the HTML is redrawn without a widget, and says why."""
    kernel = start_kernel()
    (kernel.cwd / "main.py").write_text(textwrap.dedent(HEALTHY))
    kernel.run_all(["%load_ext masuka_magic", "import ipywidgets; del ipywidgets.VBox"])
    run = kernel.run(f"%masuka_start main:app --port {free_port} --no-database")
    assert (run.status, run.stdout) == ("ok", "")
    assert {WIDGET_VIEW in one["data"] for one in run.displays} == {False}
    assert "is ready" in run.displays[-1]["data"]["text/html"]
    assert "ipywidgets cannot be used (AttributeError" in run.displays[0]["data"]["text/html"]
    kernel.run("%masuka_stop")
