"""`python -m tests.benchmarks`: measure in real kernels, print a table, exit with 1 when a bound is missed.

To be run from the project's folder, on a machine that does nothing else; docs/benchmarks.md says what each figure
means.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import masuka_magic
from masuka_magic.demo.postgres import EmbeddedPostgres
from tests.benchmarks import measure
from tests.benchmarks.figures import disturbed, table

GROUPS = {
    "start": measure.measure_start,
    "stderr": measure.measure_stderr,
    "exit": measure.measure_exit,
    "logs": measure.measure_logs,
}


def main() -> int:
    """Measure what was asked for; 0 when every bound was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"what to measure, of {', '.join(GROUPS)}; without: all")
    parser.add_argument("--quick", action="store_true", help="3 runs instead of 7: a glance, no figures")
    asked = parser.parse_args()
    unknown = [name for name in asked.groups if name not in GROUPS]
    if unknown:
        parser.error(f"there is no {unknown[0]!r}; there are {', '.join(GROUPS)}")
    # The kernels' folders are elsewhere, and their files are compiled as pip compiles what it installs.
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(
            str(Path(path).absolute()) for path in os.environ["PYTHONPATH"].split(os.pathsep)
        )
    # Else ipykernel 6's debugger has something to say about every kernel of newer Pythons.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    before = os.getloadavg()[0]
    with EmbeddedPostgres() as postgres:
        quick = measure.Plan(postgres.url, runs=3, pasted_runs=0, exits=5)
        plan = quick if asked.quick else measure.Plan(postgres.url, runs=7, pasted_runs=3, exits=20)
        measure.warm_up(plan)
        figures = []
        for name in asked.groups or GROUPS:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            figures += GROUPS[name](plan)
    print(_machine(before))
    print(f"{plan.runs} runs, {plan.exits} exits\n")
    print(table(figures))
    if jumped := disturbed(figures):
        print(f"\ndisturbed, so to be measured again: {', '.join(jumped)}")
    missed = [figure.name for figure in figures if figure.missed]
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return 1 if missed else 0


def _machine(load_before: float) -> str:
    stack = ", ".join(f"{name} {version(name)}" for name in ("ipython", "ipykernel", "uvicorn", "fastapi"))
    load = f"load {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    return (
        f"masuka_magic {masuka_magic.__version__} on Python {platform.python_version()}, {stack}\n"
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {load}"
    )


if __name__ == "__main__":
    sys.exit(main())
