"""A real kernel for a test: what a cell prints, shows and raises, as a notebook's client sees it.

`kernel` is shared by the tests of one module; `start_kernel()` starts one for one test alone.
Each kernel runs in folders of its own, and none may leave a process behind.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

START_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 60.0
# What is left of the kernel's processes after its shutdown may need this long to notice it and to go.
LEFTOVER_GRACE_S = 10.0
POLL_S = 0.02
MARK = "MASUKA_TEST_KERNEL"


@dataclass(frozen=True)
class CellError:
    """What a cell ended with; `traceback` as it was sent, colours included."""

    ename: str
    evalue: str
    traceback: tuple[str, ...]


@dataclass(frozen=True)
class CellRun:
    """One executed cell. `displays` are the display and result messages' contents in their order.

    A display is `{"data": …, "metadata": …, "transient": …, "update": bool}`.
    `messages` holds everything that came on iopub.
    """

    status: Literal["ok", "error", "aborted"]
    stdout: str
    stderr: str
    displays: tuple[dict[str, Any], ...]
    error: CellError | None
    execution_count: int | None
    seconds: float
    messages: tuple[dict[str, Any], ...]


@dataclass
class _Pending:
    """A cell that was sent: what has come back so far, and whether it is complete."""

    sent_at: float
    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] | None = None
    idle: bool = False
    done_at: float = 0.0

    @property
    def complete(self) -> bool:
        return self.idle and self.reply is not None


class Kernel:
    """One kernel of this interpreter, and the only client that it has."""

    def __init__(self, folder: Path, processes_where: Any, env: Mapping[str, str] | None = None) -> None:
        mark = uuid.uuid4().hex
        self.folder = folder
        self.cwd = folder / "work"
        # The kernel and everything started from it, in whatever session or group.
        self.processes = processes_where(lambda environment: environment.get(MARK) == mark)
        # What came on iopub for no unfinished cell: a thread's output, say, or a widget's later update.
        self.late: list[dict[str, Any]] = []
        # Addresses of unix sockets hold 107 bytes, which a test's own folder may exceed. Sockets rather than
        # ports, which other tests' kernels might take between the choice and the use.
        self._sockets = Path(tempfile.mkdtemp(prefix="mk-"))
        for name in ("work", "ipython", "config", "data", "state"):
            (folder / name).mkdir(mode=0o700)
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("JUPYTER", "PYTEST"))
            },
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self._sockets),
            "XDG_STATE_HOME": str(folder / "state"),
            MARK: mark,
            **(env or {}),
        }
        self._manager = KernelManager(
            # No folders: the specification that ipykernel itself has, whatever the user's own may say.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            transport="ipc",
            ip=str(self._sockets / "k"),
            connection_file=str(self._sockets / "kernel.json"),
        )
        self._client: BlockingKernelClient | None = None
        self._pending: dict[str, _Pending] = {}
        try:
            self._manager.start_kernel(env=self.env, cwd=str(self.cwd))
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The kernel's own process."""
        provisioner = self._manager.provisioner
        assert isinstance(provisioner, LocalProvisioner)
        assert provisioner.pid is not None
        return provisioner.pid

    @property
    def client(self) -> BlockingKernelClient:
        """The connected client, for what `run` does not offer (comm messages, say)."""
        assert self._client is not None, "the kernel was closed"
        return self._client

    def run(self, cell: str, timeout: float = RUN_TIMEOUT_S) -> CellRun:
        """Run one cell to its end."""
        return self.run_all([cell], timeout)[0]

    def run_all(self, cells: Sequence[str], timeout: float = RUN_TIMEOUT_S) -> list[CellRun]:
        """Queue all cells at once, as "Run all" does: those behind one that fails come back aborted."""
        if len(cells) == 1:
            return self.results([self.send(cells[0])], timeout)
        # What is queued is aborted, what arrives later is not: all have to be there before the first one runs.
        begin = self.cwd / f"begin-{uuid.uuid4().hex}"
        gate = f"import os as _o, time as _t\nwhile not _o.path.exists({str(begin)!r}): _t.sleep(0.01)\n_t.sleep(0.2)"
        ids = [self.send(gate, silent=True), *map(self.send, cells)]
        begin.touch()
        return self.results(ids, timeout)[1:]

    def send(self, cell: str, *, silent: bool = False) -> str:
        """Send a cell without waiting; its id is for `results` and `wait_for_output`."""
        sent_at = time.monotonic()
        cell_id: str = self.client.execute(cell, silent=silent, allow_stdin=False, stop_on_error=True)
        self._pending[cell_id] = _Pending(sent_at)
        return cell_id

    def results(self, cell_ids: Sequence[str], timeout: float = RUN_TIMEOUT_S) -> list[CellRun]:
        """Wait until these cells are through."""
        runs = self._collect(cell_ids, timeout)
        if any(run.status != "ok" for run in runs):
            self._settle()
        return runs

    def wait_for_output(self, cell_id: str, text: str, timeout: float = RUN_TIMEOUT_S) -> None:
        """Wait until a running cell has printed the text."""
        pending = self._pending[cell_id]
        self.wait_for(lambda: text in _stream(pending.messages, "stdout"), timeout)

    def wait_for(self, reached: Callable[[], object], timeout: float = RUN_TIMEOUT_S) -> None:
        """Take what the kernel sends until the condition holds; `late` grows meanwhile."""
        deadline = time.monotonic() + timeout
        while not reached():
            if time.monotonic() > deadline:
                pytest.fail(f"the kernel did not get there within {timeout:g} s; so far: {self._so_far()}")
            if not self._manager.is_alive():
                pytest.fail(f"the kernel died; so far: {self._so_far()}")
            self._pump_once()

    def interrupt(self) -> None:
        """Interrupt what runs, as the notebook's stop button does."""
        self._manager.interrupt_kernel()

    def restart(self, *, now: bool = False) -> None:
        """Restart the kernel, gracefully or by a kill; unfinished cells are forgotten."""
        self._disconnect()
        self._manager.restart_kernel(now=now, env=self.env, cwd=str(self.cwd))
        self._connect()

    def kill(self) -> None:
        """Kill the kernel's process alone, as an out-of-memory killer does, and wait until it is gone."""
        process = psutil.Process(self.pid)
        process.kill()
        deadline = time.monotonic() + LEFTOVER_GRACE_S
        while self._manager.is_alive():
            assert time.monotonic() < deadline, f"the kernel {process.pid} survived SIGKILL"
            time.sleep(POLL_S)

    def close(self, **options: float) -> list[str]:
        """Shut the kernel down, kill what is left of it, and say what that was; again: nothing."""
        self._disconnect()
        if self._manager.has_kernel:
            self._manager.shutdown_kernel(now=not self._manager.is_alive())
        left: list[str] = self.processes.end(**options)
        shutil.rmtree(self._sockets, ignore_errors=True)  # A second call finds it gone.
        return left

    def _collect(self, cell_ids: Sequence[str], timeout: float) -> list[CellRun]:
        self.wait_for(lambda: all(self._pending[one].complete for one in cell_ids), timeout)
        return [self._finish(self._pending.pop(one)) for one in cell_ids]

    def _settle(self) -> None:
        """Wait until the kernel takes cells again: for a moment after a failure it aborts new ones too."""
        status: str = "aborted"
        while status != "ok":
            probe: str = self.client.execute("", silent=True, store_history=False, stop_on_error=False)
            self._pending[probe] = _Pending(time.monotonic())
            status = self._collect([probe], RUN_TIMEOUT_S)[0].status

    def _connect(self) -> None:
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=START_TIMEOUT_S)

    def _disconnect(self) -> None:
        self._pending.clear()
        if self._client is not None:
            self._client.stop_channels()
            self._client = None

    def _pump_once(self) -> None:
        """Take one message of iopub if one comes soon, and all replies that are there."""
        with contextlib.suppress(queue.Empty):  # Nothing was shown meanwhile; the deadline is the caller's.
            self._keep(self.client.get_iopub_msg(timeout=POLL_S))
        while True:
            try:
                reply = self.client.get_shell_msg(timeout=0)
            except queue.Empty:
                return
            pending = self._pending.get(reply["parent_header"].get("msg_id"))
            if pending is not None:
                pending.reply = reply["content"]
                pending.done_at = time.monotonic()

    def _keep(self, message: dict[str, Any]) -> None:
        pending = self._pending.get(message["parent_header"].get("msg_id"))
        if pending is None:
            self.late.append(message)
            return
        pending.messages.append(message)
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            pending.idle = True
            pending.done_at = time.monotonic()

    def _so_far(self) -> str:
        return repr([message["content"] for one in self._pending.values() for message in one.messages])

    @staticmethod
    def _finish(pending: _Pending) -> CellRun:
        assert pending.reply is not None
        reply, messages = pending.reply, pending.messages
        # ipykernel 6.17 marks an aborted cell by the status alone, 7 as an error that has no name.
        status = reply["status"]
        if status == "error" and "ename" not in reply:
            status = "aborted"
        errors = [message["content"] for message in messages if message["msg_type"] == "error"]
        shown = ("display_data", "update_display_data", "execute_result")
        return CellRun(
            status=status,
            stdout=_stream(messages, "stdout"),
            stderr=_stream(messages, "stderr"),
            displays=tuple(
                {**message["content"], "update": message["msg_type"] == "update_display_data"}
                for message in messages
                if message["msg_type"] in shown
            ),
            error=_cell_error(errors[-1] if errors else reply) if status == "error" else None,
            execution_count=reply.get("execution_count"),
            seconds=pending.done_at - pending.sent_at,
            messages=tuple(messages),
        )


def _stream(messages: Sequence[Mapping[str, Any]], name: str) -> str:
    return "".join(
        message["content"]["text"]
        for message in messages
        if message["msg_type"] == "stream" and message["content"]["name"] == name
    )


def _cell_error(content: Mapping[str, Any]) -> CellError:
    return CellError(content["ename"], content["evalue"], tuple(content["traceback"]))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, processes_where: Any) -> Iterator[Kernel]:
    """Give the kernel that the tests of this module share; at its end nothing of it may be left."""
    one = Kernel(tmp_path_factory.mktemp("kernel"), processes_where)
    yield one
    assert one.close() == [], "the kernel's end left processes running"


@pytest.fixture
def start_kernel(
    tmp_path_factory: pytest.TempPathFactory, processes_where: Any
) -> Iterator[Callable[..., Kernel]]:
    """Give `start_kernel(env=…)` for kernels that this test has for itself."""
    started: list[Kernel] = []

    def start(env: Mapping[str, str] | None = None) -> Kernel:
        one = Kernel(tmp_path_factory.mktemp("kernel"), processes_where, env)
        started.append(one)
        return one

    yield start
    left = [line for one in started for line in one.close()]
    assert left == [], "a kernel's end left processes running"
