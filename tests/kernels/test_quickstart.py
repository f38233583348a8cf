"""The quickstart notebook: executed by nbclient on each stack, and the copy that is committed with its outputs.

`python tests/kernels/test_quickstart.py` executes it in a neutral folder and writes the committed copy anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

pytestmark = pytest.mark.timeout(240)

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CELL_LIMIT_S = 120
#: What a path of the machine that executed the notebook would begin with.
MACHINE = re.compile(r"(?<![\w.])/(?:root|home|work|tmp|usr|opt|var|content|Users|private)\b")


def execute(folder: Path, environ: Mapping[str, str]) -> Any:
    """Run all cells in the folder, with a kernel of this interpreter; return the notebook with its outputs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # No folders: the specification that ipykernel itself has, whatever the user's own may say.
    kernels = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook,
        km=kernels,
        timeout=CELL_LIMIT_S,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
    )
    private = {"IPYTHONDIR": f"{folder}/.ipython", "XDG_STATE_HOME": f"{folder}/.state"}
    return client.execute(env={**environ, **private})


def shown(cell: Any, kind: str = "text/plain") -> str:
    """Return what a cell displays in this form, and what it prints, in their order."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type in {"display_data", "execute_result"}:
            parts.append("".join(output.data.get(kind, "")))
    return "\n".join(parts)


def by_name(notebook: Any) -> dict[str, Any]:
    """Return the code cells by their ids."""
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def check(cells: dict[str, Any]) -> None:
    """Assert what the notebook promises its reader."""
    for name in ("start", "fix"):
        html = shown(cells[name], "text/html")
        assert html.count('<div class="mk ') == 1
        assert "Masuka demo 1.0.0" in html
        assert "where the time went" in html
    # The backend that was started first had been replaced, the last one stopped: no widget is left without kernel.
    assert {WIDGET_VIEW in output.get("data", {}) for cell in cells.values() for output in cell.outputs} == {
        False
    }
    assert "first light" in shown(cells["use"])
    assert shown(cells["status"]).startswith("backend  ready  http://127.0.0.1:")
    assert "Masuka demo 1.0.0 is warming up" in shown(cells["logs"])
    failure = cells["failure"]
    assert "MASUKA_DEMO_MODEL_FOLDER" in shown(failure, "text/html")
    assert 'role="alert"' in shown(failure, "text/html")
    (error,) = [output for output in failure.outputs if output.output_type == "error"]
    assert error.ename == "StartFailed"
    assert "app/broken.py" in "\n".join(error.traceback)
    assert "backend: stopped in " in shown(cells["stop"])
    others = [cell for name, cell in cells.items() if name != "failure"]
    assert [] == [output for cell in others for output in cell.outputs if output.output_type == "error"]


@pytest.fixture
def folder(processes_where) -> Iterator[Path]:
    """Give a folder for the kernel that PostgreSQL's user may enter; what runs below it must end with it."""
    with tempfile.TemporaryDirectory(prefix="masuka-quickstart-") as place:
        Path(place).chmod(0o711)
        yield Path(place)
        left = processes_where(
            lambda environment: environment.get("XDG_STATE_HOME", "").startswith(place)
        ).end()
    assert [] == left


def test_the_notebook_does_what_it_says(folder):
    """All cells run on this stack, the one that is meant to fail fails, and every panel has its HTML."""
    executed = folder / "executed.ipynb"
    # In a process of its own: nbclient has an event loop, and leaves sockets to the garbage collector.
    done = subprocess.run(
        [sys.executable, __file__, executed],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check(by_name(nbformat.read(executed, as_version=4)))


def test_the_committed_copy_carries_its_outputs():
    """A reader without a kernel sees the same, and nothing of the machine that executed it."""
    check(by_name(nbformat.read(NOTEBOOK, as_version=4)))
    text = NOTEBOOK.read_text()
    assert [] == [text[max(found.start() - 80, 0) : found.end() + 40] for found in MACHINE.finditer(text)]
    assert "widgets" not in nbformat.read(NOTEBOOK, as_version=4).metadata


def main() -> int:
    """Execute the notebook and write it with its outputs: where the argument says, else the committed copy."""
    with tempfile.TemporaryDirectory(prefix="masuka-quickstart-") as place:
        Path(place).chmod(0o711)
        notebook = execute(Path(place), os.environ)
    nbformat.validate(notebook)
    nbformat.write(notebook, sys.argv[1] if len(sys.argv) > 1 else NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
