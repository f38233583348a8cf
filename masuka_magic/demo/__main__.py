"""`python -m masuka_magic.demo`: a real backend on a real PostgreSQL, started from cells in a real IPython.

It shows the cells as a notebook would, one success and one failure, and leaves nothing running and no file behind.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

BACKEND = Path(__file__).parent / "backend"

INSTALL = f"{sys.executable} -m pip install 'masuka_magic[demo]'"
# What the backend is written with; a PostgreSQL may also come from elsewhere than from the extra.
NEEDED = ("fastapi", "sqlalchemy", "uvicorn")

CELLS = (
    "%load_ext masuka_magic",
    """\
%%masuka_start
app = "app.main:app"
cwd = "{backend}"
port = "auto"
[env]
DATABASE_URL = "$DATABASE_URL"
""",
    """\
import requests
requests.post(masuka.url + "/projects", json={{"name": "first light"}}).json()""",
    'requests.get(masuka.url + "/projects").json()',
    "%masuka_status",
    "%masuka_logs -n 3",
    "%masuka_stop",
)
FAILING = """\
%%masuka_start
app = "app.broken:app"
cwd = "{backend}"
port = "auto"
[env]
DATABASE_URL = "$DATABASE_URL"
"""
LAST_WORDS = """
That was the whole of it: nothing is running any more, and no file is left.
Next: open a notebook and start your own backend with the README's three cells;
      %masuka_start -h lists every key, docs/ explains them.
"""


def main() -> int:
    """Run the cells; 0 when everything went as the demo promises, the failure included."""
    from masuka_magic.demo.binaries import PostgresNotFoundError
    from masuka_magic.demo.postgres import EmbeddedPostgres

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"the demo needs its extra ({', '.join(missing)}): {INSTALL}", file=sys.stderr)
        return 2
    try:
        server = EmbeddedPostgres()
    except PostgresNotFoundError as error:
        print(f"the demo cannot start PostgreSQL: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="masuka-demo-") as folder:
        # History, profiles and run folders go where they are deleted with the demo.
        os.environ |= {"IPYTHONDIR": f"{folder}/ipython", "XDG_STATE_HOME": f"{folder}/state"}
        print("starting an embedded PostgreSQL ...", flush=True)
        with server as postgres:
            went_well = _run(postgres.url)
    if went_well:
        print(LAST_WORDS)
    return 0 if went_well else 1


def _run(url: str) -> bool:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    # No history: its database would be written to at the very end, after its folder has gone.
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.user_ns["DATABASE_URL"] = url
    try:
        for cell in CELLS:
            if not _run_cell(shell, cell.format(backend=BACKEND)):
                print("the demo stopped: this cell should not have failed")
                return False
        print("\nAnd one that does not come up:")
        if _run_cell(shell, FAILING.format(backend=BACKEND)):
            print("the demo stopped: this cell should have failed")
            return False
        return True
    finally:
        _stop_all()


def _run_cell(shell: InteractiveShell, cell: str) -> bool:
    """Show the cell as a notebook does, run it, and say whether it went well."""
    number = shell.execution_count
    for i, line in enumerate(cell.rstrip().splitlines()):
        print(f"\nIn [{number}]: {line}" if i == 0 else f"   ...: {line}")
    print(flush=True)
    result = shell.run_cell(cell, store_history=True)  # type: ignore[no-untyped-call]  # untyped in ipython 9
    return bool(result.success)


def _stop_all() -> None:
    from masuka_magic.session import current_session

    for backend in current_session().backends.values():
        backend.stop()


if __name__ == "__main__":
    sys.exit(main())
