"""The checks of the project, each in an environment of its own: `nox` runs what has to pass before a commit.

Two stacks are tested: the current one, and Google Colab's (tests/constraints/colab.txt).
`nox -l` lists everything.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nox

VERSIONS = ("3.11", "3.12", "3.13")
COLAB_PINS = "tests/constraints/colab.txt"

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|venv"
nox.options.download_python = "never"  # What the machine has is tested, and what it lacks is said.
nox.options.reuse_venv = "yes"

# pip compiles what it installs, uv does not: every kernel of the tests would compile its imports again
# wherever Python may not write bytecode (PYTHONDONTWRITEBYTECODE, as in many containers).
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")


def candidates(version: str) -> Iterator[Path]:
    """Yield where an interpreter of this version may lie, likely places first."""
    for folder in os.get_exec_path():
        yield Path(folder, f"python{version}")
    yield Path(getattr(sys, "_base_executable", sys.executable))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for root, pattern in (
        (pyenv / "versions", f"{version}.*/bin/python{version}"),
        (Path.home() / ".local/share/uv/python", f"cpython-{version}.*/bin/python{version}"),
        (Path("/usr"), f"bin/python{version}"),
        (Path("/usr/local"), f"bin/python{version}"),
        (Path("/opt"), f"*/bin/python{version}"),
        (Path("/opt"), f"*/*/bin/python{version}"),
    ):
        yield from sorted(root.glob(pattern), reverse=True)


def answers(interpreter: Path, version: str) -> bool:
    """Tell whether the file runs and is of this version; a shim on PATH may have nothing behind it."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [interpreter, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == version


@functools.cache
def interpreter(version: str) -> str | None:
    """Return the machine's interpreter of this version, or None."""
    return next((str(path) for path in candidates(version) if path.exists() and answers(path, version)), None)


PRESENT = [version for version in VERSIONS if interpreter(version)]
LACKING = [version for version in VERSIONS if version not in PRESENT]
if not PRESENT:
    sys.exit(f"nox: no Python of {', '.join(VERSIONS)} was found on this machine")
# The oldest Python tells what is too new for it; Colab has the newest.
OLDEST, NEWEST = PRESENT[0], PRESENT[-1]

nox.options.sessions = ["lint", f"tests-{OLDEST}", f"colab-{NEWEST}", "browser"]


@functools.cache
def take_over_pip_index() -> None:
    """Point uv to the package index that pip is configured for; uv reads no pip.conf."""
    for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        done = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", f"global.{setting}"],
            capture_output=True,
            text=True,
            check=False,
        )
        value = os.environ.get(f"PIP_{setting.replace('-', '_').upper()}") or done.stdout.strip()
        if value:
            os.environ.setdefault(variable, value)


def install_project(session: nox.Session, *options: str) -> None:
    """Install the package as a user gets it, as a built wheel, with all that the tests need."""
    take_over_pip_index()
    # uv would take a wheel that it built earlier as long as pyproject.toml is the same.
    fresh = ["--reinstall-package", "masuka_magic"] if session.venv_backend == "uv" else []
    session.install(*fresh, *options, ".[test]")


def run_suite(session: nox.Session) -> None:
    """Run the suite, or what the command line names behind `--`."""
    session.run("pytest", "--numprocesses", "logical", "--maxprocesses", "8", *session.posargs)


def lint(session: nox.Session) -> None:
    """Check the code: ruff's rules, its format, mypy's types."""
    install_project(session, "nox")  # nox for the types of this file.
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


def tests(session: nox.Session) -> None:
    """Run the suite on the newest packages there are."""
    if VERSIONS[0] in LACKING:
        session.warn(f"no Python {VERSIONS[0]} on this machine: the oldest here is {OLDEST}")
    install_project(session)
    run_suite(session)


def colab(session: nox.Session) -> None:
    """Install beside Colab's packages as a user does there, see that nothing moved, run the suite."""
    if VERSIONS[-1] in LACKING:
        session.warn(f"no Python {VERSIONS[-1]}, Colab's own, on this machine: the newest here is {NEWEST}")
    take_over_pip_index()
    session.install("-r", COLAB_PINS, "psycopg2-binary==2.9.12", "pip")
    session.run("python", "tests/constraints/check_install.py", ".")
    install_project(session, "--constraint", COLAB_PINS)
    run_suite(session)


nox.session(name="lint", python=interpreter(OLDEST))(lint)
for present in PRESENT:
    nox.session(name=f"tests-{present}", python=interpreter(present))(tests)
    # Always a new environment: it is the installation itself that is looked at.
    nox.session(name=f"colab-{present}", python=interpreter(present), reuse_venv=False)(colab)


@nox.session(python=False)
def matrix(session: nox.Session) -> None:
    """Run every Python that the machine has with both stacks, and say which it lacks."""
    session.notify("lint")
    for version in PRESENT:
        session.notify(f"tests-{version}")
        session.notify(f"colab-{version}")
    if LACKING:
        session.warn(f"not on this machine, so not tested: Python {', '.join(LACKING)}")
    session.log(f"both stacks are tested on Python {', '.join(PRESENT)}")


@nox.session(python=interpreter(OLDEST))
def browser(session: nox.Session) -> None:
    """Look at the panel in JupyterLab, with the chromium that is on PATH."""
    if shutil.which("chromium") is None:
        session.skip("no chromium on PATH: the panel is not looked at in a browser")
    install_project(session, "jupyterlab>=4.4", "playwright")
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session(python=interpreter(OLDEST))
def benchmarks(session: nox.Session) -> None:
    """Measure: one thing at a time, on a machine that does nothing else."""
    install_project(session)
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
