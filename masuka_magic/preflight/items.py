"""What a check made of several independent looks says as one: the worst verdict, one finding, a layer for each.

Knows no machine and no check; items come in as values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from masuka_magic.preflight.check import CheckLayer, CheckResult, Verdict

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import Finding

_WORST: tuple[Verdict, ...] = ("fail", "warn")


@dataclass(frozen=True, slots=True)
class Item:
    """One look: a layer by name, with its verdict and one line; a finding where something is wrong."""

    name: str
    verdict: Verdict
    text: str
    finding: Finding | None = None


def as_result(items: Sequence[Item], healthy: str) -> CheckResult:
    """Put the items together: the text is `healthy`, or what is wrong, the worst first.

    A result has one finding: the first of the worst verdict. What else is wrong becomes its notes.
    """
    layers = tuple(CheckLayer(item.name, item.verdict, item.text) for item in items)
    verdict: Verdict = next((one for one in _WORST if any(item.verdict == one for item in items)), "pass")
    if verdict == "pass":
        return CheckResult("pass", healthy, layers=layers)
    wrong = [item for one in _WORST for item in items if item.verdict == one]
    finding = next((item.finding for item in wrong if item.finding is not None), None)
    if finding is not None:
        others = [item.text for item in wrong if item.finding is not finding]
        finding = replace(finding, notes=(*finding.notes, *others))
    return CheckResult(verdict, "; ".join(item.text for item in wrong), finding, layers=layers)
