"""Findings without secrets: every text of a finding goes through the same masking as a log does.

A `"$NAME"` in a remedy says where a value comes from and is none itself: it stays, or the remedy could not be
pasted any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import Finding, Remedy

_REFERENCE = re.compile(r'("\$\{?[A-Za-z_][A-Za-z0-9_]*\}?")')


def masked(findings: Iterable[Finding], redact: Callable[[str], str]) -> tuple[Finding, ...]:
    """Return the findings with `redact` applied to all that is shown of them. Masking twice changes
    nothing.
    """
    return tuple(_masked(finding, redact) for finding in findings)


def _masked(finding: Finding, redact: Callable[[str], str]) -> Finding:
    return replace(
        finding,
        title=redact(finding.title),
        culprit=None if finding.culprit is None else redact(finding.culprit),
        evidence=tuple(replace(line, text=redact(line.text)) for line in finding.evidence),
        notes=tuple(map(redact, finding.notes)),
        remedies=tuple(_masked_remedy(remedy, redact) for remedy in finding.remedies),
    )


def _masked_remedy(remedy: Remedy, redact: Callable[[str], str]) -> Remedy:
    return replace(
        remedy,
        text=redact(remedy.text),
        command=None if remedy.command is None else _masked_command(remedy.command, redact),
        argv=None if remedy.argv is None else tuple(map(redact, remedy.argv)),
    )


def _masked_command(command: str, redact: Callable[[str], str]) -> str:
    parts = _REFERENCE.split(command)
    return "".join(part if at % 2 else redact(part) for at, part in enumerate(parts))
