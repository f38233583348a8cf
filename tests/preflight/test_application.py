from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from masuka_magic.config.model import StartConfig, Target
from masuka_magic.preflight.application import ApplicationCheck
from masuka_magic.preflight.check import CheckContext, CheckResult

FASTAPI = "from fastapi import FastAPI\n"
MAIN = FASTAPI + "app = FastAPI()\n"


@pytest.fixture
def project(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Write a project's files below a folder of their own and return it."""

    def write(files: Mapping[str, str]) -> Path:
        root = tmp_path / "shop"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return root

    return write


def check(
    cwd: Path,
    target: str = "app.main:app",
    *,
    kind: Any = "app",
    environ: Mapping[str, str] | None = None,
    python: str = sys.executable,
    **settings: Any,
) -> CheckResult:
    argv = tuple(target.split()) if kind == "command" else ()
    config = StartConfig(Target(kind, target, argv), str(cwd), python, **settings)
    return ApplicationCheck().run(CheckContext(config, print, threading.Event(), environ or {}))


def fixes(result: CheckResult) -> list[str | None]:
    assert result.finding is not None
    return [remedy.command for remedy in result.finding.remedies]


def code(result: CheckResult) -> str:
    assert result.finding is not None, result.text
    return result.finding.code


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a virtual environment in which nothing is installed."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    return str(folder / "venv" / "bin" / "python")


def other_python(*, older: bool) -> str:
    """Find a Python of another version than this one on this machine."""
    for minor in range(8, 16):
        wanted = minor < sys.version_info[1] if older else minor > sys.version_info[1]
        found = shutil.which(f"python3.{minor}")
        homes = Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}")
        for python in [*([found] if found else []), *map(str, homes)]:
            asked = [python, "-c", "import sys; print(sys.version_info[1])"]
            if (
                wanted
                and subprocess.run(asked, capture_output=True, check=False).stdout.strip() == b"%d" % minor
            ):
                return python
    pytest.skip("this machine has no such Python")


# -- what passes ---------------------------------------------------------------------------------------


def test_a_project_passes_with_what_was_found(project) -> None:
    """The text names the file, the attribute and the server's version."""
    result = check(project({"app/__init__.py": "", "app/main.py": MAIN}))

    assert result.verdict == "pass"
    assert result.text.startswith("app/main.py defines app, uvicorn ")


DEFINED_SOMEHOW = {
    "a namespace package": {"app/main.py": MAIN},
    "star import": {"app/main.py": "from app.parts import *\n", "app/parts.py": "x = 1\n"},
    "module getattr": {"app/main.py": "def __getattr__(name): return print\n"},
    "lazy getattr": {"app/main.py": "import lazy\n__getattr__, __all__ = lazy.attach(1)\n"},
    "globals": {"app/main.py": "for name in ['app']:\n    globals()[name] = print\n"},
    "exec": {"app/main.py": "exec('app = 1')\n"},
    "sys.modules": {"app/main.py": "import sys\nsetattr(sys.modules[__name__], 'app', print)\n"},
    "a branch": {"app/main.py": "if 1 > 2:\n    pass\nelse:\n    app = print\n"},
    "a try": {"app/main.py": "try:\n    from a import app\nexcept ImportError:\n    app = print\n"},
    "a loop": {"app/main.py": "for app in [print]: pass\n"},
    "a with": {"app/main.py": "with open('x') as app: pass\n"},
    "a walrus": {"app/main.py": "print(app := print)\n"},
    "a tuple": {"app/main.py": "app, other = print, 1\n"},
    "global": {"app/main.py": "def make():\n    global app\n    app = print\nmake()\n"},
    "match": {"app/main.py": "match [1]:\n    case [*app]: pass\n"},
    "a class": {"app/main.py": "class app: pass\n"},
    "a nested attribute": {"app/main.py": "class app:\n    asgi = print\n"},
    "an import under another name": {
        "app/main.py": "from app.made import thing as app\n",
        "app/made.py": "thing = 1",
    },
    "a module of the package": {"app/main/__init__.py": "", "app/main/app.py": MAIN},
    "a package that looks elsewhere": {
        "app/__init__.py": "import os\n__path__.append(os.path.join(os.path.dirname(__file__), '../src'))\n",
        "src/main.py": MAIN,
    },
    "a relative import": {
        "app/__init__.py": "",
        "app/main.py": "from .made import app\n",
        "app/made.py": MAIN,
    },
    "an import that may fail": {
        "app/main.py": "try:\n    import app.bad\nexcept Exception:\n    pass\n" + MAIN,
        "app/bad.py": "def (",
    },
    "an import in a function": {
        "app/main.py": MAIN + "def later():\n    import app.bad\n",
        "app/bad.py": "def (",
    },
    "an attribute with a module's name": {
        "app/__init__.py": "settings = 1\n",
        "app/settings.py": "def (",
        "app/main.py": "from app import settings\n" + MAIN,
    },
    "its own module": {"app/main.py": "import app.main\napp.main.app = print\n"},
    "a frame": {"app/main.py": "import app.magic\n", "app/magic.py": "import sys\nsys._getframe(9)\n"},
    "another file": {
        "app/main.py": "import app.wiring\n",
        "app/wiring.py": "def wire(m):\n    m.app = print\n",
    },
    "doubtful escapes": {"app/main.py": MAIN + "pattern = '\\d'\n"},
    "a path that is moved": {
        "app/main.py": "import sys\nsys.path.insert(0, 'lib')\nimport shop.thing\n" + MAIN
    },
}


@pytest.mark.parametrize("files", DEFINED_SOMEHOW.values(), ids=DEFINED_SOMEHOW)
def test_what_may_be_right_passes(project, files) -> None:
    """No verdict where the attribute may be there once the module is imported."""
    target = "app.main:app.asgi" if "asgi" in str(files) else "app.main:app"

    assert check(project(files), target).verdict == "pass"


def test_the_search_path_of_the_backend_counts(project, tmp_path) -> None:
    """PYTHONPATH, a zip archive on it, --app-dir, --chdir and --pythonpath provide modules."""
    root = project({"src/app/main.py": MAIN, "lib/other.py": MAIN, "README": ""})
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("packed/__init__.py", "")
        archive.writestr("packed/main.py", "app = print")

    assert check(root).verdict == "fail"
    assert check(root, environ={"PYTHONPATH": f"/nowhere:{root}/src"}).verdict == "pass"
    assert check(root, "packed.main:app", environ={"PYTHONPATH": f"{tmp_path}/packed.zip"}).verdict == "pass"
    assert check(root, args=("--app-dir", "src")).verdict == "pass"
    moved = check(root, args=("--chdir=src",), server="gunicorn")
    added = check(root, "other:app", args=("--pythonpath", "src,lib"), server="gunicorn")
    # Where gunicorn itself is not installed, that is all there is to say.
    assert all(one.verdict == "pass" or code(one) == "missing-module" for one in (moved, added))


def test_settings_of_gunicorn_may_change_the_folder(project) -> None:
    """Where gunicorn reads settings of its own, a module that is not found by reading may be found by it."""
    root = project({"src/app/main.py": MAIN, "run/gunicorn.conf.py": "chdir = '../src'", "bare/x": ""})
    allowed = {"", "missing-module"}  # Where gunicorn is not installed, that is said.

    assert code(check(root / "bare", server="gunicorn")) == "wrong-cwd"
    for result in (
        check(root / "run", server="gunicorn"),
        check(root / "bare", server="gunicorn", args=("-c", "../run/gunicorn.conf.py")),
        check(root / "bare", server="gunicorn", environ={"GUNICORN_CMD_ARGS": "--chdir ../src"}),
    ):
        assert (result.finding.code if result.finding else "") in allowed


def test_an_installed_application_passes(project) -> None:
    """A module that is installed for the interpreter is left to the start."""
    assert check(project({"README": ""}), "uvicorn.main:main").verdict == "pass"


# -- where it is instead -------------------------------------------------------------------------------


def test_the_folder_above_the_package_is_recognised(project) -> None:
    """app/main.py in backend/, cwd its parent: wrong-cwd with the folder to take."""
    root = project({"backend/app/main.py": MAIN, "venv/pyvenv.cfg": "", "venv/app/main.py": MAIN})

    result = check(root)

    assert ("fail", "wrong-cwd") == (result.verdict, code(result))
    assert result.text == "app/main.py is in backend/, and cwd is its parent"
    assert [f'cwd = "{root}/backend"'] == fixes(result)


@pytest.mark.parametrize("inside", ["app", "app/routes"])
def test_a_cwd_inside_the_package_is_recognised(project, inside) -> None:
    """The target is found from a folder above."""
    root = project({"app/main.py": MAIN, "app/routes/items.py": ""})

    result = check(root / inside)

    assert code(result) == "wrong-cwd"
    assert [f'cwd = "{root}"'] == fixes(result)


@pytest.mark.parametrize("line", ["from .config import x", "from app.config import x", "import app.config"])
def test_a_module_that_needs_its_package_is_recognised(project, line) -> None:
    """main:app inside the package: what it imports shows that the folder above is meant."""
    root = project({"app/__init__.py": "", "app/config.py": "x = 1", "app/main.py": f"{line}\n{MAIN}"})

    result = check(root / "app", "main:app")

    assert code(result) == "wrong-cwd"
    assert [f'cwd = "{root}"\napp = "app.main:app"'] == fixes(result)
    assert check(root).verdict == "pass"


@pytest.mark.parametrize(
    ("files", "target", "title", "fix"),
    [
        ({"app/main.py": MAIN}, "app.man:app", "there is no module app.man in app", 'app = "app.main:app"'),
        ({"app/main.py": MAIN}, "ap.main:app", "there is no module ap in {root}", 'app = "app.main:app"'),
        ({"app/main.py": MAIN}, "App.main:app", "there is no module App in {root}", 'app = "app.main:app"'),
        ({"server.py": MAIN}, "app.main:app", "there is no module app in {root}", 'app = "server:app"'),
        ({"main.py": MAIN}, "app.main:app", "there is no module app in {root}", 'app = "main:app"'),
        (
            {"app/__init__.py": "", "app/main.py": MAIN},
            "main:app",
            "there is no module main in {root}; app.main is there",
            'app = "app.main:app"',
        ),
    ],
)
def test_a_module_that_is_not_there_has_a_nearest_name(project, files, target, title, fix) -> None:
    """asgi-import-path names what is missing and offers what is there."""
    root = project(files)

    result = check(root, target)

    assert ("fail", "asgi-import-path") == (result.verdict, code(result))
    assert title.format(root=root) == result.text
    assert fixes(result)[0] == fix


def test_a_notebook_of_the_modules_name_is_told(project) -> None:
    """app/main.ipynb is no module."""
    result = check(project({"app/main.ipynb": "{}"}))

    assert result.finding is not None
    assert ("app/main.ipynb is a notebook; Python imports .py files",) == result.finding.notes


# -- the attribute -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "title", "fix"),
    [
        (
            FASTAPI + "api = FastAPI()",
            "`app` is not defined in app/main.py; it defines `api = FastAPI()`",
            'app = "app.main:api"',
        ),
        (
            "import fastapi\nweb = fastapi.FastAPI(title='shop')",
            "`app` is not defined in app/main.py; it defines `web = fastapi.FastAPI(…)`",
            'app = "app.main:web"',
        ),
        (
            FASTAPI + "def create_app():\n    made = FastAPI()\n    return made",
            "`app` is not defined in app/main.py; its function `create_app` returns an application",
            'app = "app.main:create_app"\nfactory = true',
        ),
        ("application = load()", "`app` is not defined in app/main.py", 'app = "app.main:application"'),
    ],
)
def test_an_attribute_that_is_not_defined_is_told(project, source, title, fix) -> None:
    """asgi-attribute says what the file does define, and how to name it."""
    result = check(project({"app/main.py": source}))

    assert ("fail", "asgi-attribute") == (result.verdict, code(result))
    assert (title, fix) == (result.text, fixes(result)[0])


@pytest.mark.parametrize("source", ["", "app: object", "import os\nTOKEN = os.environ['UNSET']\n"])
def test_a_module_without_anything_like_it_is_a_warning(project, source) -> None:
    """Something else may end such an import first, and is then the cause."""
    result = check(project({"app/main.py": source}))

    assert ("warn", "`app` is not defined in app/main.py") == (result.verdict, result.text)


def test_a_reloader_is_started_all_the_same(project) -> None:
    """With --reload a broken file is a warning: it can be mended while the server runs."""
    root = project({"app/main.py": "if x\n"})

    assert check(root).verdict == "fail"
    assert ("warn", "syntax-error") == ((result := check(root, args=("--reload",))).verdict, code(result))


def test_a_middleware_sets_nothing_from_outside(project) -> None:
    """`self.app = …` in another file says nothing about the module's own names."""
    layer = "class Layer:\n    def __init__(self, app):\n        self.app = app\n"

    assert (
        code(check(project({"app/main.py": FASTAPI + "api = FastAPI()", "app/layer.py": layer})))
        == "asgi-attribute"
    )


def test_an_application_that_exists_only_as_a_script_is_told(project) -> None:
    """What stands under the main guard is not there after an import."""
    result = check(project({"app/main.py": "if __name__ == '__main__':\n    app = print"}))

    assert result.finding is not None
    assert (
        'it is defined under `if __name__ == "__main__"`, which an import does not run',
    ) == result.finding.notes


def test_a_factory_and_an_application_are_told_apart(project) -> None:
    """Factory needs a function; a function that returns an application is worth a hint."""
    root = project({"app/main.py": FASTAPI + "app = FastAPI()\ndef make() -> FastAPI:\n    return app\n"})

    wrong = check(root, factory=True)
    hint = check(root, "app.main:make")

    assert ("fail", "asgi-attribute") == (wrong.verdict, code(wrong))
    assert wrong.text == "`app` in app/main.py is an application, `FastAPI()`, and no factory"
    assert 'app = "app.main:make"\nfactory = true' in fixes(wrong)
    assert ("warn", ['app = "app.main:make"\nfactory = true']) == (hint.verdict, fixes(hint))
    assert check(root, "app.main:make", factory=True).verdict == "pass"


# -- syntax --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"app/main.py": "x = 1\nif x\n    y = 2\n" + MAIN},
        {"app/main.py": "import app.config\n" + MAIN, "app/config.py": "x = 1\nif x\n"},
        {"app/main.py": "from app import config\n" + MAIN, "app/config.py": "x = 1\nif x\n"},
        {"app/main.py": MAIN, "app/__init__.py": "x = 1\nif x\n"},
    ],
    ids=["its own", "imported", "imported from the package", "the package"],
)
def test_a_file_that_does_not_parse_is_pointed_at(project, files) -> None:
    """The line and the character, in the file itself and in what it imports at its top."""
    result = check(project(files))

    assert ("fail", "syntax-error") == (result.verdict, code(result))
    assert ":2 does not parse: expected ':'" in result.text
    assert result.finding is not None
    line, caret = result.finding.evidence
    assert (2, "if x", "    ^") == (line.line_number, line.text, caret.text)


def test_a_file_in_utf_16_is_told(project) -> None:
    """A file that an editor saved in UTF-16 is no Python, and says so."""
    root = project({"app/main.py": ""})
    (root / "app/main.py").write_text(MAIN, "utf-16")

    result = check(root)

    assert code(result) == "syntax-error"
    assert "app/main.py:1 does not parse: it holds NUL bytes" in result.text


@pytest.mark.parametrize("line", ["!pip install fastapi", "%load_ext masuka_magic", "    %matplotlib inline"])
def test_a_line_of_a_notebook_is_told(project, line) -> None:
    """A shell escape or a magic in a Python file has a note of its own."""
    result = check(project({"app/main.py": f"def f():\n    pass\n{line}\n{MAIN}"}))

    assert result.finding is not None
    assert code(result) == "syntax-error"
    assert (
        "a line that begins with ! or % is a notebook's command; Python files have none",
    ) == result.finding.notes


def test_an_older_backend_is_asked_about_new_syntax(project) -> None:
    """What this Python parses and the backend's does not is python-version, proved by that interpreter."""
    python = other_python(older=True)
    root = project({"serve.py": "try:\n    pass\nexcept* ValueError:\n    pass\n"})

    result = check(root, "serve.py", kind="script", python=python)

    assert ("fail", "python-version") == (result.verdict, code(result))
    assert "serve.py:3 has `except*`, which needs Python 3.11; the backend's Python is 3." in result.text
    assert check(project({"serve.py": "x = 1\n"}), "serve.py", kind="script", python=python).verdict == "pass"


def test_a_newer_backend_is_asked_before_anything_is_said(project) -> None:
    """Syntax that only the backend's newer Python knows is no error; a mistake is one."""
    python = other_python(older=False)
    root = project({"serve.py": "type Pair = tuple[int, int]\n", "bad.py": "def (\n"})
    if "3.11" not in sys.version:
        pytest.skip("this Python knows the statement")

    assert check(root, "serve.py", kind="script", python=python).verdict == "pass"
    assert code(check(root, "bad.py", kind="script", python=python)) == "syntax-error"


# -- interpreter, server, folder -----------------------------------------------------------------------


def test_a_server_that_is_not_installed_is_told(project, bare_python) -> None:
    """missing-module with the pip of that very interpreter."""
    result = check(project({"app/main.py": MAIN}), python=bare_python)

    assert ("fail", "missing-module") == (result.verdict, code(result))
    assert result.text == "the module uvicorn is not installed"
    assert [f"{bare_python} -m pip install uvicorn"] == fixes(result)


def test_an_editable_server_is_installed(project, tmp_path) -> None:
    """A finder of an editable install, and a `.pth` with a folder, count as installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    root = project({"app/main.py": MAIN, "vendor/uvicorn/__init__.py": "", "more/hypercorn/__init__.py": ""})
    finder = "__editable___uvicorn_1_0_finder"
    (site / "__editable__.uvicorn-1.0.pth").write_text(f"import {finder}; {finder}.install()\n")
    (site / f"{finder}.py").write_text(
        f"MAPPING: dict[str, str] = {{'uvicorn': '{root}/vendor/uvicorn'}}\ndef install(): pass\n"
    )
    (site / "more.pth").write_text(f"{root}/more\n")
    (site / "uvicorn-1.0.dist-info").mkdir()
    python = str(tmp_path / "venv" / "bin" / "python")

    assert check(root, python=python).text == "app/main.py defines app, uvicorn 1.0"
    assert check(root, python=python, server="hypercorn").verdict == "pass"
    assert code(check(root, python=python, server="gunicorn")) == "missing-module"


def test_code_in_a_pth_file_is_not_second_guessed(project, tmp_path) -> None:
    """Where reading cannot tell, the interpreter is asked whether it finds the module."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    root = project({"app/main.py": MAIN, "vendor/uvicorn/__init__.py": "", "vendor/far/main.py": MAIN})
    (site / "odd.pth").write_text(f"import sys; sys.path.append('{root}/' + 'vendor')\n")
    python = str(tmp_path / "venv" / "bin" / "python")

    assert check(root, python=python).verdict == "pass"
    assert check(root, "far.main:app", python=python).verdict == "pass"


@pytest.mark.parametrize(
    ("python", "title"),
    [
        ("/nowhere/bin/python", "there is no Python at /nowhere/bin/python"),
        ("/tmp", "/tmp is a folder, no Python"),
    ],
)
def test_an_interpreter_that_is_not_there_is_told(project, python, title) -> None:
    """wrong-interpreter, with the kernel's own as the fix."""
    result = check(project({"app/main.py": MAIN}), python=python)

    assert ("fail", "wrong-interpreter", title) == (result.verdict, code(result), result.text)
    assert fixes(result)[-1] == f'python = "{sys.executable}"'


def test_a_folder_that_is_not_there_has_likely_ones(project) -> None:
    """missing-path names the nearest folder that is there, and one of a similar name."""
    root = project({"backend/app/main.py": MAIN})

    result = check(root / "bakend")

    assert ("fail", "missing-path") == (result.verdict, code(result))
    assert [f'cwd = "{root}/backend"'] == fixes(result)
    assert result.finding is not None
    assert (f"{root} is there; it has no bakend",) == result.finding.notes


# -- names that hide others, .env ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "title"),
    [
        ({"random.py": ""}, "random.py hides Python's own module random"),
        ({"email/__init__.py": ""}, "email hides Python's own module email"),
        ({"starlette.py": ""}, "starlette.py hides the installed starlette "),
        ({"cmd.py": "", "app/main.py": "import cmd\n" + MAIN}, "cmd.py hides Python's own module cmd"),
    ],
)
def test_a_file_that_hides_a_module_is_a_warning(project, files, title) -> None:
    """What the server or the application imports would come from the project."""
    result = check(project({"app/main.py": MAIN, **files}))

    assert ("warn", "name-shadowing") == (result.verdict, code(result))
    assert result.text.startswith(title)


@pytest.mark.parametrize(
    "files",
    [
        {"app/random.py": ""},
        {"email/notes.txt": ""},
        {"test.py": "", "code.py": "", "os.py": "", "cmd.py": ""},
        {"utils.py": "", "tests/__init__.py": "", "config.py": "", "docs/conf.py": ""},
        {"pytest.py": ""},
        {"time.py": ""},
    ],
    ids=[
        "in the package",
        "a folder of data",
        "nobody's import",
        "the project's",
        "not imported",
        "built in",
    ],
)
def test_names_that_hide_nothing_pass(project, files) -> None:
    """No alarm for what nobody imports, cannot be hidden, or is no top-level module."""
    assert check(project({"app/main.py": MAIN, **files})).verdict == "pass"


def test_an_application_that_imports_itself_by_accident_is_told(project) -> None:
    """fastapi.py with `from fastapi import FastAPI` hides what it wants."""
    result = check(project({"fastapi.py": MAIN}), "fastapi:app")

    assert code(result) == "name-shadowing"
    assert result.finding is not None
    assert "fastapi.py imports fastapi, and finds itself" in result.finding.notes


def test_a_dotenv_elsewhere_is_a_warning_when_it_is_asked_for(project) -> None:
    """`.env` in the package, while the settings ask for it in cwd."""
    settings = 'model_config = {"env_file": ".env"}\n'
    root = project(
        {"app/main.py": "import app.config\n" + MAIN, "app/config.py": settings, "app/.env": "A=1"}
    )

    result = check(root)

    assert ("warn", f".env is in {root}/app, not in {root}") == (result.verdict, result.text)
    assert [f'env_file = "{root}/app/.env"'] == fixes(result)
    assert check(root, env_file=(f"{root}/app/.env",)).verdict == "pass"
    (root / ".env").write_text("A=1")
    assert check(root).verdict == "pass"


# -- scripts, modules, commands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("script", "serve.py", "pass"),
        ("script", "srve.py", ("missing-path", 'script = "serve.py"')),
        ("script", "notes.ipynb", ("syntax-error", None)),
        ("script", "old.py", ("missing-path", 'script = "tools/old.py"')),
        ("module", "tools.run", "pass"),
        ("module", "uvicorn", "pass"),
        ("module", "tools", ("asgi-import-path", None)),
        ("module", "tols.run", ("asgi-import-path", 'module = "tools.run"')),
        ("module", "run", ("wrong-cwd", None)),
        ("command", "sh -c true", "pass"),
        ("command", "./go.sh", ("permission", None)),
        ("command", "./gone", ("missing-command", None)),
        ("command", "PORT=1 sh", ("missing-command", 'command = "PORT=1 sh"\nshell = true')),
        ("command", "no-such-program-at-all x", ("missing-command", None)),
    ],
)
def test_other_targets(project, kind, target, expected) -> None:
    """Scripts, modules and commands are looked for as the start would."""
    root = project(
        {"serve.py": "", "notes.ipynb": "{}", "tools/old.py": "", "tools/run.py": "", "go.sh": "#!/bin/sh"}
    )

    result = check(root, target, kind=kind)

    if expected == "pass":
        assert result.verdict == "pass", result.text
        return
    assert ("fail", expected[0]) == (result.verdict, code(result))
    assert expected[1] is None or fixes(result)[0] == expected[1]


def test_a_normal_project_takes_little_time(project) -> None:
    """Forty files are looked at in much less than a start needs; the bound is generous for a slow machine."""
    files = {f"app/part{number}.py": "def f(x):\n    return x\n" * 100 for number in range(40)}
    imports = "".join(f"from app import part{number}\n" for number in range(40))
    root = project({**files, "app/__init__.py": "", "app/main.py": imports + MAIN})
    check(root)

    begun = time.perf_counter()
    assert check(root).verdict == "pass"
    assert time.perf_counter() - begun < 0.5
