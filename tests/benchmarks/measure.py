"""The measurements, each in kernels of its own; what is compared takes turns, so that noise meets both sides."""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masuka_magic.preflight.port import pick_free_port
from tests.benchmarks.figures import Figure, milliseconds
from tests.conftest import Processes
from tests.kernels.conftest import Kernel

HERE = Path(__file__).parent
CELL_LIMIT_S = 180.0
MB = 1_000_000
LOG_BYTES = 1_000 * MB
LOAD = """\
import json, time
began = time.perf_counter()
get_ipython().extension_manager.load_extension("masuka_magic")
print("\\n@" + json.dumps(time.perf_counter() - began))
"""
BESIDE = f"import sys; sys.path.insert(0, {str(HERE)!r}); import inside"


@dataclass(frozen=True)
class Plan:
    """How often, and against which database. `pasted_runs` are few: their length is that of their sleeps."""

    url: str
    runs: int
    pasted_runs: int
    exits: int


class Kernels:
    """One kernel with the applications in its folder, told what to measure by expressions."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        shutil.copytree(HERE / "apps", kernel.cwd / "apps", ignore=shutil.ignore_patterns("__pycache__"))

    def load(self) -> float:
        """Load the extension; return the seconds of that. Then get everything else ready."""
        seconds: float = self.run(LOAD)
        self.kernel.run(BESIDE)
        return seconds

    def call(self, name: str, *arguments: object) -> Any:
        """Call a function of inside.py and return what it does."""
        return self.run(f"inside.say(inside.{name}({', '.join(map(repr, arguments))}))")

    def run(self, cell: str) -> Any:
        done = self.kernel.run(cell, CELL_LIMIT_S)
        if done.status != "ok":
            error = "" if done.error is None else "\n".join(done.error.traceback)
            raise RuntimeError(f"a measurement broke: {cell}\n{done.stdout}\n{done.stderr}\n{error}")
        answer = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("@"))
        return json.loads(answer[1:])

    def fails(self, cell: str, word: str) -> None:
        """Run a cell that has to fail, with this word in its error's text."""
        done = self.kernel.run(cell, CELL_LIMIT_S)
        if done.error is None or word not in "".join(done.error.traceback):
            raise RuntimeError(f"this cell should have failed with {word}: {cell}\n{done}")


@contextlib.contextmanager
def fresh_kernel() -> Iterator[Kernels]:
    """Give a kernel with nothing loaded, and remove what it wrote."""
    folder = Path(tempfile.mkdtemp(prefix="masuka-benchmark-"))
    kernel = Kernel(folder, Processes, {"BENCHMARK_STAMP": str(folder / "stamp")})
    try:
        yield Kernels(kernel)
    finally:
        left = kernel.close()
        shutil.rmtree(folder)
    if left:
        raise RuntimeError(f"the kernel's end left processes running: {left}")


def port() -> int:
    return pick_free_port("127.0.0.1")


def warm_up(plan: Plan) -> None:
    """Let every file be compiled and read once, as on a machine on which the package was used before."""
    with fresh_kernel() as kernel:
        kernel.load()
        kernel.call("started", "quick", port(), plan.url)
        kernel.call("floor", "quick", port())


def measure_start(plan: Plan) -> list[Figure]:
    """Measure from the cell's beginning until ready, in kernels that are new for each run."""
    took: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        took.setdefault(name, []).append(seconds)

    for run in range(plan.runs):
        with fresh_kernel() as kernel:
            note("load", kernel.load())
            note("first", kernel.call("started", "quick", port(), plan.url))
            for app in ("quick", "slow"):
                turns = [("floor", "floor", ()), ("ready", "started", (plan.url,))]
                for name, function, more in turns if run % 2 == 0 else reversed(turns):
                    note(f"{name} {app}", kernel.call(function, app, port(), *more))
                if run < plan.pasted_runs:
                    seconds, ready = kernel.call("pasted", app, port())
                    if not ready:
                        raise RuntimeError(f"the pasted cell did not bring up {app}")
                    note(f"pasted {app}", seconds)
    figures = [milliseconds("loading the extension", took["load"], bound=30)]
    for app, import_s in (("quick", 0), ("slow", 2)):
        name, lowest = f"import of {import_s} s", took[f"floor {app}"]
        figures += [
            milliseconds(f"floor, {name}", lowest),
            milliseconds(f"ready, {name}", took[f"ready {app}"], bound=allowed(lowest, 1.05, 100)),
        ]
        if plan.pasted_runs:
            figures.append(milliseconds(f"the pasted cell, {name}", took[f"pasted {app}"]))
    first = milliseconds(
        "first start of a kernel, import of 0 s", took["first"], bound=allowed(took["floor quick"], 1.05, 400)
    )
    return [*figures, first]


def measure_stderr(plan: Plan) -> list[Figure]:
    """Measure a start that is preceded by 200 MB of stderr, and what the kernel grows by meanwhile."""
    lowest, ready, growth = [], [], []
    with fresh_kernel() as kernel:
        kernel.load()
        kernel.call("started", "quick", port(), plan.url)  # What a start imports is no growth by its log.
        for run in range(plan.runs):
            if run % 2 == 0:
                lowest.append(kernel.call("floor", "loud", port()))
            before = kernel.call("resident")
            ready.append(kernel.call("started", "loud", port(), plan.url))
            growth.append((kernel.call("peak") - before) / MB)
            if run % 2:
                lowest.append(kernel.call("floor", "loud", port()))
    figures = [
        milliseconds("200 MB of stderr into a file, floor", lowest),
        milliseconds("200 MB of stderr, ready", ready, bound=allowed(lowest, 1.1, 0)),
        Figure(
            "200 MB of stderr, growth of the kernel at its peak", max(growth), "MB", 20, None, ends(growth)
        ),
    ]
    return [*figures, *_pasted_with_stderr()] if plan.pasted_runs else figures


def _pasted_with_stderr() -> list[Figure]:
    with fresh_kernel() as kernel:
        kernel.load()
        before = kernel.call("resident")
        seconds, ready = kernel.call("pasted", "loud", port())
        grew = (kernel.call("peak") - before) / MB
    remark = "ready" if ready else "gives up: the server waits for a reader of its pipe"
    return [
        milliseconds("200 MB of stderr, the pasted cell", [seconds], remark=remark),
        Figure("200 MB of stderr, growth of the kernel, the pasted cell", grew, "MB"),
    ]


def measure_exit(plan: Plan) -> list[Figure]:
    """Measure from the child's last act until the cell shows `failed`, and until it shows why."""
    figures: list[Figure] = []
    with fresh_kernel() as kernel:
        kernel.load()
        kernel.kernel.run("inside.watch_the_failure()")
        for app, ending, word in (
            ("leaves", "os._exit", "exited with code 3"),
            ("raises", "an exception", "BENCHMARK_MODEL_FOLDER"),
        ):
            samples = []
            for _ in range(1 + plan.exits):
                body = kernel.run(f"inside.say(inside.cell({app!r}, {port()}, {plan.url!r}))")
                kernel.fails("%%masuka_start\n" + body, word)
                samples.append(kernel.call("late"))
            first, *others = samples  # The first failure of a kernel imports the diagnosis.
            failed, finding = ([one[moment] for one in others] for moment in ("failed", "finding"))
            figures += [
                milliseconds(f"exit by {ending} to `failed` shown, p95", failed, bound=50, p95=True),
                milliseconds(f"exit by {ending} to the finding shown, p95", finding, goal=150, p95=True),
            ]
            if app == "leaves":
                name = "exit to the finding shown, first failure of a kernel"
                figures.append(milliseconds(name, [first["finding"]]))
    return figures


def measure_logs(plan: Plan) -> list[Figure]:
    """Measure `%masuka_logs` on 1 GB; the first call, which imports what reads, is among the samples."""
    with fresh_kernel() as kernel:
        kernel.load()
        cell = kernel.run(f"inside.say(inside.cell('quick', {port()}, {plan.url!r}))")
        kernel.kernel.run("%%masuka_start\n" + cell, CELL_LIMIT_S)
        kernel.call("fill_log", LOG_BYTES)
        samples = [kernel.call("logs") for _ in range(plan.runs)]
        kernel.kernel.run("%masuka_stop")
    return [milliseconds("`%masuka_logs` on a log of 1 GB", samples, bound=50)]


def allowed(floor: Sequence[float], factor: float, more_ms: float) -> float:
    """Return the bound in milliseconds: so many times the floor's median, and so much more."""
    return factor * 1000 * statistics.median(floor) + more_ms


def ends(samples: Sequence[float]) -> tuple[float, float]:
    return min(samples), max(samples)
