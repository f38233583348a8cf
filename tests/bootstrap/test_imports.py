"""What is reported of the application's import, and what its failure looks like as data."""

from __future__ import annotations

import _bisect
import os
import signal
import sysconfig
from pathlib import Path

import pytest

from masuka_magic.diagnosis.exceptions import ExceptionReport
from masuka_magic.process.reports import (
    Crashed,
    ImportFailed,
    ImportFinished,
    ImportMissing,
    ImportStarted,
    Progress,
    read_progress,
)

APP = {"app/__init__.py": "", "app/main.py": "def app(): pass\n"}


def failure(child) -> ImportFailed:
    report: ImportFailed
    (report,) = child.all(ImportFailed)
    return report


def only(chain: tuple[ExceptionReport, ...]) -> ExceptionReport:
    (report,) = chain
    return report


@pytest.mark.parametrize(
    "files",
    [
        APP,
        {"app/main.py": "def app(): pass\n"},
        {"app/__init__.py": "from .main import app\n", "app/main.py": "def app(): pass\n"},
        {
            "app/__init__.py": "import app.main\n",
            "app/main.py": "import app\nfrom . import more\n",
            "app/more.py": "",
        },
    ],
    ids=["package", "namespace package", "package imports its module", "each imports the other"],
)
def test_import_begins_and_ends_once(files, serve):
    """However the package is built, its import is one beginning and one end, and the hook is gone afterwards."""
    child = serve(files | {"serve.py": ""})
    assert ["Hello", "ImportStarted", "ImportFinished"] == child.kinds
    (finished,) = child.all(ImportFinished)
    assert "app.main" == finished.module == child.all(ImportStarted)[0].module
    assert len([path for path in files if path.startswith("app/")]) == finished.modules
    assert 0 < finished.seconds < 30


def test_hook_is_gone_after_the_import(launch, project):
    """After the application's import no finder of ours is asked for anything."""
    serve = "import importlib, sys\nimportlib.import_module('app.main')\nprint(len(sys.meta_path))\n"
    files = {**APP, "serve.py": serve}
    watched = launch(project("watched", files), "-m", "serve", options=("--app", "app.main:app"))
    by_hand = launch(project("by-hand", files), "-m", "serve", options=None)
    assert (0, 0) == (watched.wait(), by_hand.wait())
    assert by_hand.stdout == watched.stdout


@pytest.mark.parametrize(
    ("source", "application", "attribute", "candidates"),
    [
        ("def app(): pass", "app.main:app", True, ()),
        ("class Holder: app = 1\nholder = Holder()", "app.main:holder.app", True, ()),
        ("def create_app(): pass", "app.main:create_app()", True, ("create_app",)),
        (
            "import fastapi\nserver = fastapi.FastAPI()\nrouter = fastapi.APIRouter()",
            "app.main:app",
            False,
            ("server",),
        ),
        (
            "from fastapi import FastAPI\nclass Mine(FastAPI): pass\nmine = Mine()",
            "app.main:app",
            False,
            ("mine",),
        ),
        ("def __getattr__(name): return 1", "app.main:app", None, ()),
        ("def make_app(): pass\ndef other(): pass", "app.main", None, ("make_app",)),
    ],
)
def test_attribute_and_candidates(source, application, attribute, candidates, serve):
    """Whether the module has the attribute is known after its import, and what else could have been meant."""
    child = serve({"app/__init__.py": "", "app/main.py": source}, application=application)
    (finished,) = child.all(ImportFinished)
    assert (attribute, candidates) == (finished.attribute, finished.candidates)


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({}, "app"),
        ({"app/__init__.py": ""}, "app.main"),
        ({"app/other.py": ""}, "app.main"),
        ({"app.py": ""}, "app.main"),
    ],
    ids=["no package", "no module", "no module in a namespace", "no package but a module"],
)
def test_missing_module_of_the_application(files, missing, serve):
    """The part of the dotted name that is not there is named; it is no failure of the application's code."""
    child = serve(files)
    assert [missing] == [report.module for report in child.all(ImportMissing)]
    assert [] == child.all(ImportFailed)
    (crashed,) = child.all(Crashed)
    assert "app.main" == only(crashed.chain).name or "app" == only(crashed.chain).name
    assert 1 == child.process.returncode


def test_looking_for_a_module_is_no_import(launch, project):
    """importlib.util.find_spec reports nothing, whether it finds the application or not."""
    serve = """
        import importlib.util
        assert importlib.util.find_spec("app") and not importlib.util.find_spec("app.main")
    """
    child = launch(
        project("watched", {"app/__init__.py": "", "serve.py": serve}),
        "-m",
        "serve",
        options=("--app", "app.main:app"),
    )
    assert 0 == child.wait(), child.stderr
    # To look into a package is to import the package.
    assert ["Hello", "ImportStarted"] == child.kinds


def test_optional_import_that_is_caught_is_no_failure(serve):
    """What the application catches is its own affair: of its modules and of others."""
    main = """
        try:
            import not_installed_anywhere
        except ImportError:
            pass
        try:
            from . import broken
        except ValueError:
            pass
        app = 1
    """
    child = serve({"app/__init__.py": "", "app/main.py": main, "app/broken.py": "raise ValueError\n"})
    assert ["Hello", "ImportStarted", "ImportFinished"] == child.kinds


def test_failing_module_inside_the_package_counts_at_its_outermost(serve):
    """An exception is reported when it leaves the application, with the frames of the user's files alone."""
    files = {
        "app/__init__.py": "",
        "app/main.py": "import wrapper\n",
        "wrapper.py": "from app import db\n",
        "app/db.py": "def connect():\n    import no_such_library.part\nconnect()\n",
    }
    child = serve(files)
    report = failure(child)
    error = only(report.chain)
    assert "app.main" == report.module
    assert ("ModuleNotFoundError", "builtins", "no_such_library") == (error.type, error.module, error.name)
    assert "No module named 'no_such_library'" == error.message
    own = [
        (os.path.relpath(frame.file, child.cwd), frame.line, frame.function, frame.source)
        for frame in error.frames
    ]
    assert [
        ("app/main.py", 1, "<module>", "import wrapper"),
        ("wrapper.py", 1, "<module>", "from app import db"),
        ("app/db.py", 3, "<module>", "connect()"),
        ("app/db.py", 2, "connect", "import no_such_library.part"),
    ] == own
    assert ["Hello", "ImportStarted", "ImportFailed", "Crashed"] == child.kinds


def test_syntax_error_has_its_place(serve):
    """A SyntaxError in a project's file names file, line, column and text, and its message without them."""
    child = serve(
        {
            "app/__init__.py": "",
            "app/main.py": "from . import models\n",
            "app/models.py": "x = 1\ndef broken(:\n",
        }
    )
    error = only(failure(child).chain)
    assert ("SyntaxError", "invalid syntax") == (error.type, error.message)
    assert error.syntax is not None
    assert (str(child.cwd / "app/models.py"), 2) == (error.syntax.file, error.syntax.line)
    assert ("def broken(:\n", 12) == (error.syntax.text, error.syntax.offset)


CHAINS = {
    "cause": ("raise ValueError('b') from KeyError('a')", [("ValueError", None), ("KeyError", "cause")]),
    "context": (
        "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('b')",
        [("ValueError", None), ("KeyError", "context")],
    ),
    "suppressed": (
        "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('b') from None",
        [("ValueError", None)],
    ),
    "circle": (
        "a, b = ValueError('a'), KeyError('b')\na.__cause__, b.__cause__ = b, a\nraise a",
        [("ValueError", None), ("KeyError", "cause")],
    ),
}


@pytest.mark.parametrize("case", CHAINS)
def test_chain_of_exceptions(case, serve):
    """What was raised comes first, then what it came from, as a traceback shows it; a circle is cut."""
    source, expected = CHAINS[case]
    chain = failure(serve({"app/__init__.py": "", "app/main.py": source})).chain
    assert expected == [(error.type, error.link) for error in chain]


def test_exception_group(serve):
    """The first five members of a group are there, each with a chain of its own."""
    source = "raise ExceptionGroup('many', [OSError(2, 'gone', f'/f{n}') for n in range(9)])"
    error = only(failure(serve({"app/__init__.py": "", "app/main.py": source})).chain)
    assert "ExceptionGroup" == error.type
    assert [("FileNotFoundError", 2, f"/f{n}") for n in range(5)] == [
        (only(chain).type, only(chain).errno, only(chain).filename) for chain in error.exceptions
    ]


def test_hostile_exception_is_survived(serve):
    """An exception whose text raises, whose attributes raise or are of other types, and with notes, is described."""
    source = """
        class Odd(ImportError):
            name = property(lambda self: 1 / 0)
            path = 5
            def __str__(self):
                raise RuntimeError("no")
        error = Odd()
        error.__notes__ = ["a note", 7, "n" * 5000]
        raise error
    """
    error = only(failure(serve({"app/__init__.py": "", "app/main.py": source})).chain)
    assert ("Odd", "app.main", "<unprintable Odd object>") == (error.type, error.module, error.message)
    assert (None, None, ("a note", "n" * 1000)) == (error.name, error.path, error.notes)


def test_long_exception_is_bounded(serve):
    """A message of a megabyte and a recursion of a thousand frames are cut; odd characters come through."""
    source = """
        def down(n):
            if n == 0:
                raise ValueError("\\u20ac\\ud800\\n\\"" + "x" * 1_000_000)
            down(n - 1)
        down(500)
    """
    error = only(failure(serve({"app/__init__.py": "", "app/main.py": source})).chain)
    assert ('\u20ac\\ud800\n"' + "x" * 9990) == error.message[:9999]
    assert 60 == len(error.frames)
    assert 'raise ValueError("\\u20ac\\ud800\\n\\"" + "x" * 1_000_000)' == error.frames[-1].source


def test_exit_at_import_is_a_failure_and_no_crash(serve):
    """sys.exit() in the application ends its import; the process ends as the code asks."""
    child = serve({"app/__init__.py": "", "app/main.py": "import sys\nsys.exit('no setting')\n"})
    assert ("SystemExit", "no setting") == (
        only(failure(child).chain).type,
        only(failure(child).chain).message,
    )
    assert [] == child.all(Crashed)
    assert (1, "no setting\n") == (child.process.returncode, child.stderr)


def test_slot_names_the_package_that_hangs(launch, project, wait_until):
    """After 200 quick modules the slot says which package it is that does not come back, and the stacks show where."""
    files = {
        "app/__init__.py": "",
        "app/main.py": "import tiny, stuck\n",
        "tiny/__init__.py": "".join(f"from . import m{number}\n" for number in range(200)),
        **{f"tiny/m{number}.py": "" for number in range(200)},
        "stuck/__init__.py": "import json.tool, threading\nfrom . import deep\n",
        "stuck/deep.py": "import threading\ndef hang():\n    threading.Event().wait()\nhang()\n",
        "serve.py": "import app.main\n",
    }
    child = launch(project("watched", files), "-m", "serve", options=("--app", "app.main:app"))

    def progress() -> Progress | None:
        found = read_progress(child.run, child.process.pid)
        return found if found and found.now == "stuck" else None

    found = wait_until(progress, timeout=40, what="the slot of the package that hangs")
    assert found.modules >= 201
    assert "stuck" == found.module.partition(".")[0]
    os.kill(child.process.pid, signal.SIGUSR1)
    stacks = child.run / "stacks.log"
    wait_until(lambda: "in hang\n" in stacks.read_text(), timeout=20, what="the stack")
    assert child.process.poll() is None


def test_wake_is_rung(launch, project, run_folder):
    """Each report puts a byte into the FIFO; fifty changes of the package in a moment put in far fewer."""
    run = run_folder()
    descriptor = os.open(run / "wake", os.O_RDWR | os.O_NONBLOCK)
    files = {**{f"p{n}.py": "" for n in range(50)}, "app/__init__.py": ""}
    files["app/main.py"] = "".join(f"import p{n}\n" for n in range(50))
    child = launch(
        project("watched", files | {"serve.py": "import app.main\n"}),
        "-m",
        "serve",
        options=("--app", "app.main:app"),
        run=run,
    )
    assert 0 == child.wait()
    rung = len(os.read(descriptor, 4096))
    (finished,) = child.all(ImportFinished)
    os.close(descriptor)
    assert 3 <= rung <= 3 + 2 + 20 * (finished.at - child.reports[0].at)


def test_own_time_is_a_package_s_own(serve):
    """A package's seconds are those of its own code, without what it imports; nothing is counted twice."""
    clock = "import json, time\nbegin = time.monotonic()\n{}\njson.dump(time.monotonic() - begin, open('{}', 'w'))\n"
    child = serve(
        {
            "app/__init__.py": "",
            "app/main.py": clock.format("import slow", "app.s"),
            "slow/__init__.py": clock.format("time.sleep(0.2)\nimport slower.part", "slow.s"),
            "slower/__init__.py": "",
            "slower/part.py": clock.format("time.sleep(0.3)", "slower.s"),
        }
    )
    app, slow, slower = (float((child.cwd / f"{name}.s").read_text()) for name in ("app", "slow", "slower"))
    (finished,) = child.all(ImportFinished)
    own = dict(finished.packages)
    assert slower <= own["slower"] + 0.001
    assert slow - slower == pytest.approx(own["slow"], abs=0.05)
    assert own["app"] < finished.seconds - slow + 0.001
    assert sum(own.values()) == pytest.approx(finished.seconds, abs=0.05)
    assert app <= finished.seconds


def test_threads_do_not_mix_their_times(serve):
    """Two threads that import at the same time have each their own time."""
    main = """
        import threading, time
        threads = [threading.Thread(target=__import__, args=(name,)) for name in ("one", "two")]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        app = 1
    """
    slow = "import time\ntime.sleep(0.3)\n"
    child = serve({"app/__init__.py": "", "app/main.py": main, "one.py": slow, "two.py": slow})
    (finished,) = child.all(ImportFinished)
    own = dict(finished.packages)
    assert own["one"] == pytest.approx(0.3, abs=0.1)
    assert own["two"] == pytest.approx(0.3, abs=0.1)


def test_shared_library_s_time_is_that_of_its_creation(launch, project):
    """An extension module takes its time when it is loaded, before any of its code is said to run."""
    if not getattr(_bisect, "__file__", None):
        pytest.skip("this Python has its extension modules built in")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    cwd = project(
        "watched", {"app/__init__.py": "", "app/main.py": "import _bisect\n", "serve.py": "import app.main\n"}
    )
    (cwd / f"_bisect{suffix}").write_bytes(Path(_bisect.__file__).read_bytes())
    child = launch(cwd, "-m", "serve", options=("--app", "app.main:app"))
    assert 0 == child.wait()
    (finished,) = child.all(ImportFinished)
    assert ({"app", "_bisect"}, 3) == (set(dict(finished.packages)), finished.modules)


def test_loader_and_source_are_as_by_hand(serve):
    """Loaders, sources, resources and pickled loaders of imported modules are what they are by hand."""
    main = """
        import importlib.resources, inspect, json, pickle, sys, warnings
        import other
        loader = other.__loader__
        names = [type(loader).__name__, sorted(loader.__dict__), loader == other.__spec__.loader]
        print(names, inspect.getsource(other), pickle.loads(pickle.dumps(loader)).name, other.warned)
        print((importlib.resources.files("app") / "data.txt").read_text(), type(json.__loader__.exec_module).__name__)
        app = 1
    """
    # A warning of the importer's level is shown with the importer's line: our frames do not count.
    other = """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("old", stacklevel=2)
        warned = caught[0].filename.rpartition("/")[2]
    """
    files = {"app/__init__.py": "", "app/main.py": main, "app/data.txt": "data", "other.py": other}
    watched, by_hand = serve(files), serve(files, watched=False)
    assert 0 == watched.process.returncode, watched.stderr
    assert by_hand.stdout == watched.stdout
    assert "main.py" in watched.stdout
