"""Every kind of target and server, through the same door: ready, named, one import, and gone after the stop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from masuka_magic import ConfigError, StartFailed
from masuka_magic.backend import Backend

Start = Callable[..., Backend]
Write = Callable[[str, str], Path]

ASGI = """
    import os, pathlib
    with open("imports", "a") as seen:
        seen.write(f"{os.getpid()}\\n")

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = b'{"app": "Bare", "version": "1"}'
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def make():
        return app
"""
WSGI = """
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"app": "Old", "version": "2"}']
"""
PLAIN = """
    import http.server, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"app": "Plain"}')

    if __name__ == "__main__":
        http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def gone_after_stop(backend: Backend) -> bool:
    """Stop it and look for whatever still carries its run."""
    run = str(backend.run_folder)
    backend.stop()
    left = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("MASUKA_RUN") == run:
                left.append(process)
        except psutil.Error:
            continue  # it ended meanwhile, or is not ours to look at
    return left == [] and backend.state == "stopped"


@pytest.mark.parametrize(
    ("settings", "imports"),
    [
        ({}, 1),
        ({"factory": True, "app": "main:make"}, 1),
        ({"args": ["--workers", "2"]}, 2),
        ({"args": ["--reload"]}, 1),
        ({"server": "hypercorn"}, 1),
        ({"server": "hypercorn", "args": ["--workers", "2"]}, 2),
        ({"server": "gunicorn"}, 1),
        ({"server": "gunicorn", "args": ["--workers", "2"]}, 2),
    ],
    ids=["uvicorn", "factory", "workers", "reload", "hypercorn", "hypercorn-2", "gunicorn", "gunicorn-2"],
)
def test_an_application_is_served_with_the_servers_own_imports(
    start: Start, project: Path, wait_until: Callable[..., object], settings: dict[str, object], imports: int
) -> None:
    """As many imports as by hand, the import's time known, and the whole tree gone after the stop."""
    if settings.get("server") in {"hypercorn", "gunicorn"}:
        pytest.importorskip(str(settings["server"]), reason="the server is not installed on this stack")
    target = None if "app" in settings else "main:app"
    backend = start(ASGI, target, **settings)
    answer = backend.snapshot.answer
    assert answer is not None
    assert (answer.name, answer.version, backend.snapshot.notes) == ("Bare", "1", ())
    assert "import" in backend.timings
    # The first worker to answer makes it ready; the others may still be on their way.
    wait_until(lambda: len(set((project / "imports").read_text().split())) >= imports)
    assert gone_after_stop(backend)
    assert len(set((project / "imports").read_text().split())) == imports


def test_a_wsgi_application_is_served_by_gunicorn(start: Start) -> None:
    """The worker that the user names is the one that serves."""
    pytest.importorskip("gunicorn", reason="the server is not installed on this stack")
    backend = start(WSGI, server="gunicorn", args=["--worker-class", "sync"])
    assert backend.state == "ready"


@pytest.mark.parametrize(
    "settings",
    [
        {"script": "main.py", "args": ["{port}"]},
        {"module": "main", "args": ["{port}"]},
        {"command": f"{sys.executable} main.py {{port}}"},
        {"command": f"exec {sys.executable} main.py $((0+{{port}}))", "shell": True},
    ],
    ids=["script", "module", "command", "shell"],
)
def test_other_targets_are_ready_when_they_answer(start: Start, settings: dict[str, object]) -> None:
    """A file, a module run as -m, any program, a shell's line; `{port}` is filled in."""
    backend = start(PLAIN, None, **settings)
    answer = backend.snapshot.answer
    assert answer is not None
    assert answer.name == "Plain"
    assert gone_after_stop(backend)


def test_json_is_waited_for(start: Start) -> None:
    """A health answer may say "not yet": ready is when every expected pair is there."""
    code = """
        import time
        began = time.monotonic()

        async def app(scope, receive, send):
            if scope["type"] != "http":
                return
            body = b'{"models": {"loaded": true}}' if time.monotonic() - began > 0.7 else b'{"models": {}}'
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
    """
    backend = start(code, health={"json": {"models": {"loaded": True}}})
    assert backend.timings["ready"] > 0.7
    assert json.loads(backend.snapshot.answer.body) == {"models": {"loaded": True}}  # type: ignore[union-attr]  # ready


def test_the_environment_is_added_to_and_never_replaced(
    start: Start, project: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """The kernel's environment, an env_file, [env] over both, and the two variables that make output timely."""
    monkeypatch.setenv("FROM_KERNEL", "kernel")
    write("more.env", "FROM_FILE=file\nBOTH=file\n")
    code = 'import json, os\njson.dump(dict(os.environ), open("seen", "w"))\n' + textwrap.dedent(ASGI)
    start(code, env={"BOTH": "cell"}, env_file="more.env")
    seen = json.loads((project / "seen").read_text())
    assert [seen[name] for name in ("FROM_KERNEL", "FROM_FILE", "BOTH")] == ["kernel", "file", "cell"]
    assert (seen["PATH"], seen["PYTHONUNBUFFERED"]) == (os.environ["PATH"], "1")


def test_arguments_that_contradict_the_address_start_nothing(start: Start) -> None:
    """One port, said once."""
    with pytest.raises((StartFailed, ConfigError)) as caught:
        start(ASGI, args=["--port", "1"])
    assert "--port" in str(caught.value)


def test_an_import_that_breaks_under_a_reloader_is_told_and_can_be_mended(
    start: Start, project: Path, write: Write, wait_until: Callable[..., object]
) -> None:
    """The reloader lives on; the finding is the import's, and an edit makes it ready."""
    with pytest.raises(StartFailed) as caught:
        start("import os\nos.environ['MASUKA_TEST_UNSET']\n", args=["--reload"])
    assert (caught.value.outcome.kind, caught.value.findings[0].code) == ("stalled", "missing-env")
    from masuka_magic.session import current_session

    backend = current_session().latest
    assert backend is not None
    write("main.py", ASGI)
    wait_until(lambda: backend.state == "ready", 30)
    assert backend.findings == []


def old_python() -> str | None:
    """Find a Python 3.8 that runs, with uvicorn; None where the machine has none."""
    roots = [Path.home() / ".pyenv/versions", Path("/opt")]
    candidates = [
        shutil.which("python3.8"),
        *(str(path) for root in roots for path in root.glob("*3.8*/bin/python3.8")),
    ]
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == "(3, 8)":
            return candidate
    return None


@pytest.mark.skipif(old_python() is None, reason="this machine has no Python 3.8")
def test_a_python_3_8_is_watched_as_well(start: Start, tmp_path: Path) -> None:
    """The backend's interpreter may be older than the kernel's: the bootstrap runs there too."""
    python = tmp_path / "venv/bin/python"
    subprocess.run([old_python() or "", "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    backend = start(PLAIN, None, script="main.py", args=["{port}"], python=str(python))
    assert backend.state == "ready"
    hello = json.loads((backend.run_folder / "reports.jsonl").read_text().splitlines()[0])
    assert (hello["kind"], hello["python"][:4]) == ("hello", "3.8.")
