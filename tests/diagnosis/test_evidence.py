"""Which code is the user's own, what was looked for, and how findings lose their secrets."""

from __future__ import annotations

import pytest

from masuka_magic.diagnosis.evidence import (
    Evidence,
    is_own,
    own_frame,
    own_modules,
    relative_path,
    wanted_modules,
)
from masuka_magic.diagnosis.exceptions import ExceptionReport, Frame
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.diagnosis.masking import masked

CWD = "/srv/app"


@pytest.mark.parametrize(
    ("expected", "file"),
    [
        (True, "/srv/app/app/main.py"),
        (True, "app/main.py"),
        (True, "/srv/app/./app/../app/main.py"),
        (False, "/srv/app/.venv/lib/python3.13/site-packages/x.py"),
        (False, "/srv/app/whatever/lib/python3.12/json/decoder.py"),
        (False, "/srv/app/vendor/site-packages/x.py"),
        (False, "/srv/application/main.py"),
        (False, "/srv/app/../other/main.py"),
        (False, "../other/main.py"),
        (False, "/usr/lib/python3/dist-packages/x.py"),
        (False, "<frozen importlib._bootstrap>"),
        (False, "<string>"),
        (False, ""),
        (False, "/srv/app/masuka_magic/process/bootstrap.py"),
    ],
)
def test_own_code_lies_in_the_folder_and_in_no_package(expected: bool, file: str) -> None:
    """Inside the backend's folder, and neither installed nor part of a virtual environment there."""
    assert expected is is_own(file, CWD)


@pytest.mark.parametrize(
    ("expected", "file", "cwd"),
    [
        ("app/main.py", "/srv/app/app/main.py", CWD),
        ("/srv/application/x.py", "/srv/application/x.py", CWD),
        ("srv/x.py", "/srv/x.py", "/"),
        ("/srv/x.py", "/srv/x.py", ""),
    ],
)
def test_paths_are_shown_from_the_folder(expected: str, file: str, cwd: str) -> None:
    """What lies inside is shortened, all else stays."""
    assert expected == relative_path(file, cwd)


def report(*files: str, name: str | None = None, link: str | None = None) -> ExceptionReport:
    frames = tuple(Frame(file, number, "f") for number, file in enumerate(files, 1))
    return ExceptionReport("ModuleNotFoundError", "builtins", "", frames, name=name, link=link)  # type: ignore[arg-type]


def test_the_spot_is_the_last_own_frame_of_what_nobody_caught() -> None:
    """The outermost traceback counts; another one only where it has no own frame."""
    chain = (report("/srv/app/a.py", "/srv/app/b.py", "/usr/x.py"), report("/srv/app/c.py", link="cause"))
    assert "/srv/app/b.py" == getattr(own_frame(chain, CWD), "file", None)
    chain = (report("/usr/x.py"), report("/srv/app/c.py", link="cause"))
    assert "/srv/app/c.py" == getattr(own_frame(chain, CWD), "file", None)
    assert own_frame((report("/usr/x.py"),), CWD) is None


def test_the_projects_own_modules_are_known() -> None:
    """From the target, from what the folder holds, and from the frames."""
    evidence = Evidence(target="app.main:app", cwd=CWD, own_modules=frozenset({"worker"}))
    assert {"app", "worker", "tasks"} == own_modules(evidence, (report("/srv/app/tasks.py"),))


def test_what_was_not_found_can_be_looked_for() -> None:
    """The edge learns which modules to look for in neighbour folders."""
    evidence = Evidence(
        target="app.main:app", import_missing="app", import_exception=(report(name="shared"),)
    )
    assert ("app", "shared") == wanted_modules(evidence)


def test_findings_are_masked_and_their_references_stay() -> None:
    """Every shown text loses its secret; a `$NAME` in a fix is none."""
    finding = Finding(
        "x",
        "a hunter2",
        "hunter2",
        (EvidenceLine("stderr", 1, "hunter2"),),
        ("n hunter2",),
        (Remedy("t hunter2", 'TOKEN = "$HF_TOKEN"  # hunter2', argv=("hunter2",)),),
    )

    def redact(text: str) -> str:
        return text.replace("hunter2", "***").replace("$HF_TOKEN", "***")

    (shown,) = masked([finding], redact)
    assert "hunter2" not in repr(shown)
    assert 'TOKEN = "$HF_TOKEN"  # ***' == shown.remedies[0].command
    assert (shown,) == masked([shown], redact)
