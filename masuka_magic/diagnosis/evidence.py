"""What is known about a start that did not come up: one frozen value, gathered by the edge, read by the
rules.

The rules may use nothing else. This room opens no file: paths are compared as text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from masuka_magic.diagnosis.machine import Machine

if TYPE_CHECKING:
    from masuka_magic.config.model import TargetKind
    from masuka_magic.diagnosis.exceptions import ExceptionReport, Frame
    from masuka_magic.diagnosis.postgres_url import PostgresUrl
    from masuka_magic.events import Answer

#: Folders that hold other people's code wherever they stand; `lib/python3.x` also finds a venv of any name.
_INSTALLED = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|node_modules|lib(?:64)?/python\d[^/]*)(?:/|$)"
)
#: Linux without root, Colab or PostgreSQL's own tools: remedies are worded for it when nobody looked.
_A_MACHINE = Machine()
_BOOTSTRAP = ("masuka_magic/process/bootstrap.py", "masuka_magic/process/child.py")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log without its end; `number` counts from 1, None where the beginning of the log is
    gone.
    """

    stream: Literal["stderr", "stdout"]
    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One start that is not ready: what was asked for, how far it came, and what was seen on the way.

    `alive`: the process still runs (`returncode` is None then, and also where it could not be learnt).
    `stage`: "import", "server" or "ready", where the start ended; `was_ready`: it had been ready before.
    `import_exception`, `crash_exception`: chains as the bootstrap reports them, the one that nobody caught first.
    `import_missing`: the module of the target (or the package above it) that was not found at all.
    `attribute_found`: whether the imported module has the target's attribute; `candidates` are those names in
    it that hold an application; `module_file`: where it was found. `own_modules`: top-level names of the
    backend's folder. `elsewhere`: folders in which a module of `wanted_modules` does exist, as (module,
    folder). `log`: the last lines of both streams, each in its order. `answer` and `answer_text`: the last
    probe and the words about it. `expects`: the pairs that the JSON answer must hold. `waiting_s`: seconds
    without movement. `importing`: the package that was being imported last. `listener`: who holds the port
    where it is not ours. `oom`: the evidence that the kernel's out-of-memory killer was at work, in words;
    bytes for `peak_rss`. `database`: the URL that the backend sees. `here`: what remedies must know of the
    machine.
    """

    target: str
    kind: TargetKind = "app"
    cwd: str = ""
    python: str = "python3"
    server: str = "uvicorn"
    host: str = "127.0.0.1"
    port: int | None = None
    health_path: str = "/health"
    health_status: int = 200
    expects: Mapping[str, Any] | None = None
    stage: str = "import"
    was_ready: bool = False
    alive: bool = False
    returncode: int | None = None
    import_exception: tuple[ExceptionReport, ...] | None = None
    crash_exception: tuple[ExceptionReport, ...] | None = None
    import_missing: str | None = None
    attribute_found: bool | None = None
    candidates: tuple[str, ...] = ()
    module_file: str | None = None
    own_modules: frozenset[str] = frozenset()
    elsewhere: tuple[tuple[str, str], ...] = ()
    log: tuple[LogLine, ...] = ()
    answer: Answer | None = None
    answer_text: str = ""
    waiting_s: float = 0.0
    importing: str = ""
    listener: str | None = None
    oom: str | None = None
    peak_rss: int = 0
    database: PostgresUrl | None = None
    here: Machine = _A_MACHINE

    @property
    def module(self) -> str:
        """The module of an `app` or `module` target, else the target as it stands."""
        return self.target.partition(":")[0] if self.kind == "app" else self.target

    @property
    def attribute(self) -> str:
        return (self.target.partition(":")[2] or "app") if self.kind == "app" else ""


def is_own(file: str, cwd: str) -> bool:
    """Say whether a file is the user's: inside `cwd`, in no installed package and no virtual environment
    there.
    """
    if not file or file.startswith("<") or file.endswith(_BOOTSTRAP):
        return False
    relative = relative_path(file, cwd)
    return not relative.startswith(("/", "../")) and not _INSTALLED.search(relative)


def relative_path(file: str, cwd: str) -> str:
    """Return `file` as seen from `cwd` when it lies inside, else unchanged."""
    if not posixpath.isabs(file):
        return posixpath.normpath(file)
    path, folder = posixpath.normpath(file), posixpath.normpath(cwd or "/")
    prefix = folder if folder.endswith("/") else folder + "/"
    return path[len(prefix) :] if cwd and path.startswith(prefix) else file


def own_frame(chain: tuple[ExceptionReport, ...], cwd: str) -> Frame | None:
    """Find the last frame of the user's own code, in the traceback that was raised last where it has one."""
    for report in chain:
        for frame in reversed(report.frames):
            if is_own(frame.file, cwd):
                return frame
    return None


def own_modules(evidence: Evidence, chain: tuple[ExceptionReport, ...] = ()) -> frozenset[str]:
    """Name the top-level modules of the project itself, as far as the evidence shows them."""
    names = set(evidence.own_modules)
    if evidence.kind in {"app", "module"}:
        names.add(evidence.module.partition(".")[0])
    for report in chain:
        own = (frame.file for frame in report.frames if is_own(frame.file, evidence.cwd))
        names.update(relative_path(file, evidence.cwd).partition("/")[0].removesuffix(".py") for file in own)
    return frozenset(names)


def wanted_modules(evidence: Evidence) -> tuple[str, ...]:
    """Name the modules that were not found, for whoever can look whether a neighbour folder has them."""
    chain = evidence.import_exception or evidence.crash_exception or ()
    named = [report.name for report in chain if report.type == "ModuleNotFoundError"]
    return tuple(dict.fromkeys(name for name in (evidence.import_missing, *named) if name))
