from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from masuka_magic.preflight import interpreter

ASK = """
import json, platform, sys
from importlib import metadata
print(json.dumps([
    platform.python_version(),
    [path for path in sys.path if "site-packages" in path or "dist-packages" in path],
    sorted({(d.metadata["Name"] or "") for d in metadata.distributions()}),
]))
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Make a virtual environment and return its folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv"


def site_of(environment: Path) -> Path:
    return next((environment / "lib").glob("python*/site-packages"))


def installed_pythons() -> list[str]:
    found = [
        sys.executable,
        "/usr/bin/python3",
        *map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3")),
    ]
    old = {f"3.{minor}." for minor in range(8)}
    return [
        python for python in found if os.access(python, os.X_OK) and not any(one in python for one in old)
    ]


@pytest.mark.parametrize("python", installed_pythons())
def test_reading_agrees_with_the_interpreter(python) -> None:
    """Version, folders and distributions are what the interpreter itself says, whatever its layout."""
    answer = interpreter.ask(python, ("-c", ASK))
    assert answer is not None
    version, folders, names = json.loads(answer)

    assert version == interpreter.version(python)
    assert folders == [str(one) for one in interpreter.site_packages(python) if str(one) in folders]
    assert {interpreter.normalized(name) for name in names if name} <= interpreter.distributions(
        python
    ).keys()


def test_an_installation_in_between_is_seen(environment) -> None:
    """What is kept is forgotten when the folder changes."""
    python = str(environment / "bin" / "python")
    assert interpreter.distributions(python) == {}

    (site_of(environment) / "Some.Thing-1.2.dist-info").mkdir()
    (site_of(environment) / "some_thing").mkdir()

    assert interpreter.distributions(python) == {"some-thing": "1.2"}
    assert interpreter.modules(python) == {"some_thing": site_of(environment) / "some_thing"}


def test_an_environment_may_see_what_is_below_it(environment) -> None:
    """include-system-site-packages adds the base's folders behind its own."""
    python = str(environment / "bin" / "python")
    alone = interpreter.site_packages(python)

    config = environment / "pyvenv.cfg"
    config.write_text(config.read_text().replace("= false", "= true"))
    os.utime(config, (1, 1))

    assert interpreter.site_packages(python)[: len(alone)] == alone
    answer = interpreter.ask(python, ("-c", "import site; print(site.getsitepackages()[-1])"))
    assert answer is not None
    assert Path(answer.strip()) in interpreter.site_packages(python)


def test_path_files_are_read_as_site_reads_them(environment, tmp_path) -> None:
    """Folders that are there, comments, editable installs of several kinds, and code that cannot be read."""
    site, python = site_of(environment), str(environment / "bin" / "python")
    for name in ("linked", "src/mapped", "src/hatched"):
        (tmp_path / name).mkdir(parents=True)
    (site / "a.pth").write_text(f"# a comment\n\n{tmp_path}/linked\n{tmp_path}/gone\n")
    (site / "b.pth").write_text("import __editable___mapped_finder; __editable___mapped_finder.install()\n")
    (site / "__editable___mapped_finder.py").write_text(
        f"MAPPING: dict[str, str] = {{'mapped': '{tmp_path}/src/mapped'}}\nNAMESPACES: dict = {{}}\n"
    )
    (site / "c.pth").write_text("import _editable_impl_hatched\n")
    (site / "_editable_impl_hatched.py").write_text(
        f"from editables.redirector import RedirectingFinder as F\nF.install()\n"
        f"F.map_module('hatched', '{tmp_path}/src/hatched/__init__.py')\n"
    )
    (site / "distutils-precedence.pth").write_text("import os; __import__('_distutils_hack').add_shim();\n")

    assert interpreter.site_packages(python) == (site, tmp_path / "linked")
    assert {"mapped", "hatched"} <= interpreter.modules(python).keys()
    assert not interpreter.has_unread_hooks(python)

    (site / "d.pth").write_text("import sys; sys.meta_path.append(print)\n")
    assert interpreter.has_unread_hooks(python)


@pytest.mark.parametrize(
    "text", ["version_info = 3.12.4.final.0", "version_info = 3.12.4", "version = 3.12.4"]
)
def test_every_maker_of_environments_is_understood(tmp_path, text) -> None:
    """venv, virtualenv and uv write the version in their own ways."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/python3.12/site-packages").mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/nowhere/bin\n{text}\n")

    python = str(tmp_path / "bin" / "python")

    assert interpreter.version(python) == "3.12.4"
    assert interpreter.site_packages(python) == (tmp_path / "lib/python3.12/site-packages",)


def test_what_is_no_interpreter_has_nothing(tmp_path) -> None:
    """Neither a program that is not there nor one that is no Python is an error."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o700)

    for path in (str(program), "/nowhere/bin/python"):
        assert interpreter.version(path) is None
        assert interpreter.distributions(path) == {}
