"""What is measured inside the kernel: starts, the floor below them, and the cell that people paste.

Imported there by its path, after the extension. At its top it imports only what every kernel has loaded: what a
first start has to import must not be there already.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython import get_ipython

POLL_S = 0.005
PATIENCE_S = 60.0
#: When the view had written `failed`, and when the error's text was out, by the monotonic clock.
moments: dict[str, float] = {}


def say(value: object) -> None:
    """Print a value for the program that measures."""
    print(f"\n@{json.dumps(value)}")


def cell(app: str, port: int, url: str) -> str:
    """Write the body of the cell that starts one of the applications, with its database."""
    return f'app = "apps.{app}:app"\ncwd = "{Path.cwd()}"\nport = {port}\n[database]\nurl = "{url}"\n'


def started(app: str, port: int, url: str) -> float:
    """Run the magic; return the seconds until the cell is through, which is when the backend is ready."""
    body = cell(app, port, url)
    shell = get_ipython()
    began = time.perf_counter()
    shell.run_cell_magic("masuka_start", "", body)
    took = time.perf_counter() - began
    shell.user_ns["masuka"].stop()
    shell.user_ns["masuka"].stderr.path.write_bytes(b"")  # The runs that are kept would fill the disk.
    return took


def floor(app: str, port: int) -> float:
    """Start the server with its output in a file and ask every 5 ms: nothing can be ready sooner."""
    log = Path("floor.log")
    began = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(server(app, port), stdout=file, stderr=file, start_new_session=True)
    try:
        while not answers(port):
            if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                raise RuntimeError(f"{app} did not come up: {log.read_text()[-500:]}")
            time.sleep(POLL_S)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()
        log.unlink()


def server(app: str, port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", f"apps.{app}:app", "--host", "127.0.0.1", "--port", str(port)]


def answers(port: int) -> bool:
    """Ask /health with as little as HTTP allows."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def pasted(app: str, port: int) -> tuple[float, bool]:
    """Do what the cell does that people paste today; return its seconds and whether it was ready.

    An import test, a start with pipes, three seconds, then eight questions with five seconds before each. Its
    pkill by name and its question to psql are left out, the first because it hits strangers, the second because
    it needs another program.
    """
    import requests

    began = time.perf_counter()
    program = f"from apps.{app} import app; print('OK')"
    test = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if test.returncode != 0:
        print(f"Backend import failed! Error: {test.stderr}")
        return time.perf_counter() - began, False
    process = subprocess.Popen(
        server(app, port), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        time.sleep(3)
        if process.poll() is not None:
            print(f"Backend crashed immediately! {process.communicate()[1][-500:]}")
            return time.perf_counter() - began, False
        for _ in range(8):
            time.sleep(5)
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=3).status_code == 200:
                    return time.perf_counter() - began, True
        print("Backend did not start after 40 seconds")
        return time.perf_counter() - began, False
    finally:
        process.kill()  # What waits for a reader of its pipe hears no TERM.
        process.communicate()


def watch_the_failure() -> None:
    """Note when the view has ended with a state, and when IPython has sent the error's text."""
    from masuka_magic import show

    def after(function: Callable[..., Any], moment: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            moments[moment] = time.monotonic()
            return result

        return call

    choose = show.choose_view

    def choose_watched(*args: Any, **options: Any) -> Any:
        view: Any = choose(*args, **options)
        view.finish = after(view.finish, "failed")
        return view

    vars(show)["choose_view"] = choose_watched
    shell = get_ipython()
    shell._showtraceback = after(shell._showtraceback, "finding")


def late() -> dict[str, float]:
    """Return the seconds from the child's last act to the two moments, and forget them."""
    left = float(Path(os.environ["BENCHMARK_STAMP"]).read_text())
    seconds = {moment: at - left for moment, at in moments.items()}
    moments.clear()
    return seconds


def fill_log(size: int) -> None:
    """Let the backend's log grow to `size` bytes."""
    lines = (f"2026-01-01 12:00:00 INFO request {number} was answered" for number in range(10_000))
    block = b"".join(line.encode().ljust(99) + b"\n" for line in lines)
    with get_ipython().user_ns["masuka"].stderr.path.open("ab") as file:
        while file.tell() < size:
            file.write(block)


def logs() -> float:
    """Run `%masuka_logs`; return its seconds, the printing included."""
    began = time.perf_counter()
    get_ipython().run_line_magic("masuka_logs", "")
    sys.stdout.flush()
    return time.perf_counter() - began


def resident() -> int:
    """Return the kernel's memory in bytes, and begin its peak anew."""
    with contextlib.suppress(OSError):  # Not allowed here: then the peak is that of the kernel's whole life.
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def peak() -> int:
    """Return the most memory that the kernel had, in bytes."""
    return _memory("VmHWM")


def _memory(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])
