"""Scripts, modules and their children under the bootstrap: the same output, end and `__main__` as by hand."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from masuka_magic.process import reports as reports_module
from masuka_magic.process.reports import Crashed, Hello, ImportStarted, read_progress

BOOTSTRAP = Path(reports_module.__file__).with_name("bootstrap.py")

# Classes of `__main__` are pickled there and back; the worker looks at its own `__main__` too.
POOL = """
    import multiprocessing, os, pickle, sys

    class Mine:
        def __init__(self, value):
            self.value = value

    def work(mine):
        main = sys.modules["__main__"]
        names = sorted(name for name in vars(main) if not name.startswith("__"))
        return Mine(mine.value * 2), names, main.__file__, main.__name__, sys.argv[1:]

    def run():
        context = multiprocessing.get_context(METHOD)
        with context.Pool(1) as pool:
            mine, *seen = pool.apply(work, (Mine(21),))
        main = sys.modules["__main__"]
        names = sorted(name for name in vars(main) if not name.startswith("__"))
        print(mine.value, type(mine) is Mine, seen)
        print(pickle.loads(pickle.dumps(Mine(1))).value, names, sys.argv, sys.path[0])
        print(__name__, __file__, __package__, __spec__ and __spec__.name, type(__loader__).__name__, __builtins__)

    if __name__ == "__main__":
        run()
"""
KINDS = {
    "script": ("tool.py", ["tool.py", "first", "-m"]),
    "module": ("tool.py", ["-m", "tool", "first", "-m"]),
    "package": ("tool/__main__.py", ["-m", "tool", "first"]),
    "inner module": ("tool/run.py", ["-m", "tool.run"]),
    "script in a folder": ("below/tool.py", ["below/tool.py"]),
}


def both(launch, project, files: dict[str, str], arguments: list[str], **how):
    """Run the target by hand and watched, to the end."""
    pair = []
    for name in ("by-hand", "watched"):
        options = None if name == "by-hand" else ()
        child = launch(project(name, files), *arguments, options=options, **how)
        child.wait()
        pair.append(child)
    return pair


def plain(text: str) -> str:
    return text.replace("/by-hand", "/watched")


# By hand, a package's `__main__` is not there in a worker that is not forked.
POOLS = [
    (kind, method)
    for kind in KINDS
    for method in ("spawn", "forkserver", "fork")
    if kind != "package" or method == "fork"
]


@pytest.mark.parametrize(("kind", "method"), POOLS)
def test_main_module_and_its_pool_are_as_by_hand(kind, method, launch, project, shown):
    """`__main__` is the target: its names, its file, its pickled classes, and what a Pool's worker has of it."""
    path, arguments = KINDS[kind]
    files = {path: POOL.replace("METHOD", repr(method))}
    by_hand, watched = both(launch, project, files, arguments)
    assert (0, "") == (watched.process.returncode, watched.stderr)
    assert plain(by_hand.stdout) == watched.stdout
    roles = [report.role for report in watched.all(Hello)]
    assert ["main", "child"] == roles if method == "spawn" else ["main"] == roles
    assert [arguments[1] if arguments[0] == "-m" else arguments[0]] == [
        report.module for report in watched.all(ImportStarted)
    ]


@pytest.mark.parametrize(
    ("code", "returncode"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('a text')", 1),
        ("raise SystemExit", 0),
        ("raise KeyboardInterrupt", -2),
        ("import os; os._exit(7)", 7),
        ("import atexit; atexit.register(print, 'bye')", 0),
    ],
)
def test_ends_that_are_no_crash(code, returncode, launch, project, shown):
    """The return code and what is shown are those by hand, and nothing is reported as a crash."""
    by_hand, watched = both(launch, project, {"tool.py": code}, ["tool.py"])
    assert returncode == by_hand.process.returncode == watched.process.returncode
    assert plain(by_hand.stderr + by_hand.stdout) == watched.stderr + watched.stdout
    assert ["Hello", "ImportStarted"] == watched.kinds


CRASHES = {
    "script": ({"tool.py": "def go():\n    raise ValueError('no')\ngo()\n"}, ["tool.py"]),
    "syntax": ({"tool.py": "x = 1\ndef (:\n"}, ["tool.py"]),
    "import": (
        {"tool.py": "import broken\n", "broken.py": "import deeper\n", "deeper.py": "1 / 0\n"},
        ["tool.py"],
    ),
    "import_module": (
        {"tool.py": "import importlib\nimportlib.import_module('broken')\n", "broken.py": "1 / 0\n"},
        ["tool.py"],
    ),
    "own hook": ({"tool.py": "import sys\nsys.excepthook = lambda *a: print(a[:2])\n1 / 0\n"}, ["tool.py"]),
    "module": ({"tool.py": "1 / 0\n"}, ["-m", "tool"]),
    "package": ({"tool/__init__.py": "1 / 0\n"}, ["-m", "tool.run"]),
}


@pytest.mark.parametrize("case", CRASHES)
def test_crash_is_reported_and_shown_as_by_hand(case, launch, project, shown):
    """The traceback has no frame of ours, the code is 1, and the exception is reported as data."""
    files, arguments = CRASHES[case]
    by_hand, watched = both(launch, project, files, arguments)
    assert 1 == by_hand.process.returncode == watched.process.returncode
    assert shown(by_hand.stderr) == watched.stderr
    assert plain(by_hand.stdout) == watched.stdout
    (crashed,) = watched.all(Crashed)
    expected = {"script": "ValueError", "syntax": "SyntaxError"}.get(case, "ZeroDivisionError")
    assert expected == crashed.chain[0].type
    files_seen = {Path(frame.file).name for frame in crashed.chain[0].frames}
    assert files_seen <= {"tool.py", "broken.py", "deeper.py", "__init__.py"}


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="older Pythons show one line more of the import system"
)
def test_logged_traceback_is_as_by_hand(launch, project):
    """Also a traceback that the program shows itself has no frame of ours."""
    tool = """
        import importlib, traceback
        try:
            importlib.import_module("broken")
        except ZeroDivisionError:
            traceback.print_exc()
    """
    by_hand, watched = both(launch, project, {"tool.py": tool, "broken.py": "1 / 0\n"}, ["tool.py"])
    assert plain(by_hand.stderr) == watched.stderr
    assert "importlib._bootstrap" in watched.stderr


@pytest.mark.parametrize("arguments", [["none.py"], ["-m", "no_such_server"], ["-m", "json.none"]])
def test_missing_target_is_said_as_python_says_it(arguments, launch, project):
    """What is said of a script or module that is not there is Python's own line, with its code."""
    by_hand, watched = both(launch, project, {"x.py": ""}, arguments)
    assert plain(by_hand.stderr) == watched.stderr
    assert by_hand.process.returncode == watched.process.returncode
    assert ([] if arguments[0] == "none.py" else [arguments[1]]) == [
        report.chain[0].name for report in watched.all(Crashed)
    ]


def test_missing_server_of_an_application_is_said_as_python_says_it(launch, project):
    """Also under --app a server that is not installed is one line, and a crash with its reason."""
    by_hand = launch(project("by-hand", {"x": ""}), "-m", "no_such_server", options=None)
    watched = launch(project("watched", {"x": ""}), "-m", "no_such_server", options=("--app", "a:b"))
    assert 1 == by_hand.wait() == watched.wait()
    assert by_hand.stderr == watched.stderr
    (crashed,) = watched.all(Crashed)
    assert ("No module named no_such_server", "no_such_server") == (
        crashed.chain[0].message,
        crashed.chain[0].name,
    )


def test_usage_is_said(launch, project):
    """Without a target there is one line of usage."""
    child = launch(project("watched", {"x": ""}), options=("--app", "a:b"))
    assert 1 == child.wait()
    assert child.stderr.startswith("usage: bootstrap.py [--app")


def test_files_beside_the_bootstrap_do_not_shadow_the_user_s(launch, project):
    """The user's modules are found by the names that modules of ours have, and what shadows by hand shadows."""
    names = [path.stem for path in BOOTSTRAP.parent.glob("*.py") if path.stem != "__init__"]
    shadowed = [*names, "signal", "json", "threading", "linecache", "types"]
    files = {f"{name}.py": f"print({name!r})\n" for name in names}
    files["tool.py"] = "".join(f"import {name}\n" for name in names)
    by_hand, watched = both(launch, project, files, ["tool.py"])
    assert (0, by_hand.stdout) == (watched.process.returncode, watched.stdout)
    files = {f"{name}.py": f"print({name!r})\n" for name in shadowed if name not in names}
    files["tool.py"] = "import json, signal, linecache, sys\nprint(json.__file__)\n1 / 0\n"
    by_hand, watched = both(launch, project, files, ["tool.py"])
    assert (1, plain(by_hand.stdout)) == (watched.process.returncode, watched.stdout)
    assert ["ZeroDivisionError"] == [report.chain[0].type for report in watched.all(Crashed)]


def test_nothing_that_is_written_in_python_is_imported_before_the_target(launch, project):
    """The target finds the modules imported that it finds by hand, and a few that are built in or in C."""
    tool = "import sys\nprint(*sorted(sys.modules))\nprint(sys.flags, sys.excepthook is sys.__excepthook__)\n"
    by_hand, watched = both(launch, project, {"tool.py": tool}, ["tool.py"])
    more = set(watched.stdout.split()) ^ set(by_hand.stdout.split())
    assert more <= {"__future__", "_signal", "_thread", "binascii", "faulthandler", "fcntl"}


def test_first_descriptors_are_free(launch, project):
    """No file of ours takes a number that a server counts on."""
    tool = "import os\nprint(sorted(os.listdir('/proc/self/fd'), key=int)[:4])\n"
    by_hand, watched = both(launch, project, {"tool.py": tool}, ["tool.py"])
    assert by_hand.stdout == watched.stdout


def test_unwatched_without_a_folder(launch, project):
    """Without MASUKA_RUN the target runs all the same, and nothing is written or caught."""
    tool = "import os, sys\nprint(len(sys.meta_path))\n"
    by_hand = launch(project("by-hand", {"tool.py": tool}), "tool.py", options=None)
    child = launch(project("watched", {"tool.py": tool}), "tool.py", env={"MASUKA_RUN": ""})
    assert (0, 0) == (by_hand.wait(), child.wait())
    assert (by_hand.stdout, "") == (child.stdout, child.stderr)
    assert ["wake"] == [path.name for path in child.run.iterdir()]


def test_progress_of_a_script_goes_on(launch, project, wait_until):
    """A script has no application whose import could end: what it imports is shown as long as it runs."""
    files = {"tool.py": "import late\n", "late/__init__.py": "import threading\nthreading.Event().wait()\n"}
    child = launch(project("watched", files), "tool.py")

    def late() -> bool:
        progress = read_progress(child.run, child.process.pid)
        return progress is not None and progress.now == "late"

    assert wait_until(late, timeout=40, what="the slot")


def test_files_are_private(launch, project):
    """What is written into the run folder is for its owner alone."""
    child = launch(project("watched", {"tool.py": "import json\n"}), "tool.py")
    assert 0 == child.wait()
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in child.run.iterdir()}
    assert {"wake", "reports.jsonl", "stacks.log", f"import-{child.process.pid}.now"} == set(modes)
    assert {"0o600"} == set(modes.values())


def old_pythons() -> dict[str, str]:
    """Find interpreters of 3.8 to 3.10 that run, by version."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), *Path.home().glob(".pyenv/versions/*/bin")]
    found: dict[str, str] = {}
    for version in ("3.8", "3.9", "3.10"):
        for place in places:
            path = shutil.which(f"python{version}", path=str(place))
            # A pyenv shim is there for versions that it does not run.
            if path and not subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
                found.setdefault(version, path)
    return found


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10"])
def test_older_python(version, launch, project, tmp_path, shown):
    """An interpreter as old as 3.8 runs and watches an application, a crash, and a script with a Pool."""
    python = old_pythons().get(version)
    if python is None:
        pytest.skip(f"no Python {version} on PATH or under pyenv")
    files = {
        "app/__init__.py": "",
        "app/main.py": "import json\ndef app(): pass\n",
        "serve.py": "import app.main\n",
    }
    options = ("--app", "app.main:app")
    child = launch(project("application", files), "-m", "serve", options=options, python=python)
    assert (0, "") == (child.wait(), child.stderr)
    assert ["Hello", "ImportStarted", "ImportFinished"] == child.kinds
    assert child.all(Hello)[0].python.startswith(version + ".")
    files["app/main.py"] = "raise ValueError from KeyError(1)\n"
    child = launch(project("broken", files), "-m", "serve", options=options, python=python)
    assert 1 == child.wait()
    assert ["Hello", "ImportStarted", "ImportFailed", "Crashed"] == child.kinds
    assert not re.search(r"bootstrap|runpy", child.stderr)
    by_hand, watched = both(
        launch, project, {"tool.py": POOL.replace("METHOD", "'spawn'")}, ["tool.py"], python=python
    )
    assert (0, "") == (watched.process.returncode, watched.stderr)
    assert plain(by_hand.stdout) == watched.stdout
    assert ["main", "child"] == [report.role for report in watched.all(Hello)]


@pytest.mark.parametrize("name", ["bootstrap.py", "child.py"])
def test_the_childs_side_is_python_3_8_and_needs_the_standard_library_alone(name):
    """The file parses as Python 3.8, is ASCII (a child compiles it under any locale), and imports no package."""
    source = BOOTSTRAP.with_name(name).read_text(encoding="ascii")
    tree = ast.parse(source, feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level
            imported.add((node.module or "").partition(".")[0])
    assert imported <= sys.stdlib_module_names
