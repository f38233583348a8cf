"""What a failure is called and what to do about it: the shapes of a finding.

This room knows no rule, no log and no view: rules make findings, views show them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RemedyKind = Literal["shell", "python", "sql", "cell", "edit", "env", "wait"]


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """One line that shows the cause: of the user's own code, of a log, of an answer.

    `source` is a file relative to the backend's folder, `stderr`, `stdout`, or the name of a check;
    `line_number` counts from 1, None where there is no line to point at.
    """

    source: str
    line_number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing to do. `command` can be pasted as it is into the place that `kind` names.

    `argv` is the same without a shell, for a button; `safe` says that running it twice does no harm;
    `confidence` is between 0 and 1.
    """

    text: str
    command: str | None = None
    kind: RemedyKind = "shell"
    argv: tuple[str, ...] | None = None
    safe: bool = False
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause. `title` stands alone: lower case but for names, the concrete value, no full stop.

    `evidence` runs from the user's own code to the line of the log; `notes` are facts, only `remedies` propose.
    """

    code: str
    title: str
    culprit: str | None = None
    evidence: tuple[EvidenceLine, ...] = ()
    notes: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
