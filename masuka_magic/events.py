"""What can happen to one service: frozen events, and the words for phases and stages.

The supervisor observes and emits events; state.py folds them into a state. Every event carries `at`, seconds of
the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import Finding

Phase = Literal[
    "new",
    "checking",
    "starting",
    "ready",
    "unhealthy",
    "stalled",
    "failed",
    "stopping",
    "stopped",
    "exited",
]
StageStatus = Literal["wait", "run", "ok", "warn", "bad", "skip"]

IMPORT, SERVER, READY = "import", "server", "ready"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one probe got. `status` None: no HTTP answer, and `error` says why in a few words.

    `name` and `version` are what the health answer calls itself; `location` where a redirect points;
    `body` is its beginning, for the diagnosis.
    """

    seconds: float
    status: int | None = None
    error: str | None = None
    name: str | None = None
    version: str | None = None
    location: str | None = None
    body: str = ""
    listening: bool = False


@dataclass(frozen=True, slots=True)
class Importing:
    """How far the application's import is: own seconds per top-level package, largest first."""

    now: str = ""
    modules: int = 0
    packages: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a check with a verdict of its own, such as the name, TCP and TLS below a login."""

    name: str
    status: StageStatus
    text: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, `at` seconds of the monotonic clock."""

    at: float


@dataclass(frozen=True, slots=True)
class Begun(Event):
    """A start was asked for, or its checks alone. `stages` are the names to come, in their order.

    `usual_s` is what a start of this backend usually takes.
    """

    stages: tuple[str, ...]
    usual_s: float | None = None
    only_check: bool = False


@dataclass(frozen=True, slots=True)
class CheckStarted(Event):
    check: str


@dataclass(frozen=True, slots=True)
class CheckProgressed(Event):
    check: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckFinished(Event):
    check: str
    status: StageStatus
    text: str
    seconds: float
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True)
class PortChosen(Event):
    port: int
    url: str


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """Nothing was spawned: a check failed, or the program could not be run."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Spawned(Event):
    pid: int


@dataclass(frozen=True, slots=True)
class ImportStarted(Event):
    module: str


@dataclass(frozen=True, slots=True)
class ImportProgressed(Event):
    importing: Importing


@dataclass(frozen=True, slots=True)
class ImportFinished(Event):
    seconds: float
    importing: Importing


@dataclass(frozen=True, slots=True)
class ImportBroke(Event):
    """The application's import raised; the process may still live (a reloader waits for the next edit)."""

    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class LogGrew(Event):
    """stdout and stderr together hold `size` bytes; `tail` is the last lines worth showing."""

    size: int
    tail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """The tree's memory in bytes, and its processors' share since the last sample (1.0 is one core)."""

    rss: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Probed(Event):
    """A probe got something that is not ready yet; `text` says what."""

    answer: Answer
    text: str


@dataclass(frozen=True, slots=True)
class BecameReady(Event):
    """The right answer, from our own process unless `note` says that this could not be proved."""

    answer: Answer
    note: str | None = None


@dataclass(frozen=True, slots=True)
class BecameUnhealthy(Event):
    answer: Answer
    text: str


@dataclass(frozen=True, slots=True)
class Stalled(Event):
    """Nothing moved for too long, or the import broke under a server that lives on."""

    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Exited(Event):
    """Our child is gone. `returncode` as Popen gives it: negative for a signal."""

    returncode: int | None
    text: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    """A stop was asked for, by whom and why; also each step of it."""

    text: str


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """Everything of ours is gone, or `text` says what is not."""

    text: str
    returncode: int | None = None


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """A fact the user should see once, such as where the logs went when the home folder is full."""

    text: str
