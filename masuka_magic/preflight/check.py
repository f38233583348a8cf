"""What a check is: a name, what it requires, and one function from facts to a result.

Checks know nothing of the start that follows them and show nothing themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import threading

    from masuka_magic.config import StartConfig
    from masuka_magic.diagnosis.findings import Finding

Verdict = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class CheckLayer:
    """One layer of a check, with a verdict of its own; `skip` where a layer below it failed."""

    name: str
    verdict: Verdict
    text: str
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The verdict of one check. Only `fail` prevents a launch; a `fail` carries its finding.

    `text` is one line with the concrete value that was looked at; `duration_s` is filled in by the runner.
    """

    verdict: Verdict
    text: str
    finding: Finding | None = None
    duration_s: float = 0.0
    layers: tuple[CheckLayer, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check may look at, and how it says what it is waiting for.

    `progress` takes one line; `cancelled` is set when the user interrupts: a check that waits must wait on it.
    `environ` is the environment that the backend will have; `run_folder` is where its logs will grow.
    """

    config: StartConfig
    progress: Callable[[str], None]
    cancelled: threading.Event
    environ: Mapping[str, str] = field(default_factory=dict)
    run_folder: str = "/tmp"  # noqa: S108 - a place to measure when no run is meant


class Checks(NamedTuple):
    """What is looked at before a start. Only `needed` can prevent it; the spawn does not wait for `advisory`."""

    needed: tuple[Check, ...]
    advisory: tuple[Check, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(check.name for check in (*self.needed, *self.advisory))


class Check(Protocol):
    """One thing that can be known before the start.

    `requires` names the checks that must not have failed or been skipped for a reason of their own failing:
    when one of them failed, this check is skipped with that reason.
    """

    @property
    def name(self) -> str: ...

    @property
    def requires(self) -> tuple[str, ...]: ...

    def run(self, context: CheckContext) -> CheckResult:
        """Look once, or for as long as time may heal it. Raises nothing that the facts can cause."""
        ...
