"""From evidence to findings: the order in which causes are asked for.

One cause, one finding: the first rule that is sure speaks, the others would describe consequences. A rule is
a function from a Case to a finding or None; where none is sure the finding is `unknown` and says only what
was seen. Pure: nothing is read, started or asked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from masuka_magic.diagnosis import answer_rules, ending_rules, import_rules, postgres_rules, setting_rules
from masuka_magic.diagnosis.case import Case, make_case

if TYPE_CHECKING:
    from masuka_magic.diagnosis.evidence import Evidence
    from masuka_magic.diagnosis.findings import Finding

Rule = Callable[[Case], "Finding | None"]

RULES: tuple[Rule, ...] = (
    # Whoever answers in our place makes every answer worthless.
    answer_rules.wrong_app,
    # What the import itself says, in the words of the bootstrap or of Python.
    import_rules.import_path,
    import_rules.attribute,
    import_rules.syntax,
    import_rules.missing_module,
    setting_rules.missing_env,
    postgres_rules.postgres,
    ending_rules.port_in_use,
    # How the process ended, where nothing it wrote is the cause.
    ending_rules.signalled,
    ending_rules.exit_zero,
    # Wrappers: true, but not the cause.
    ending_rules.lifespan,
    answer_rules.health_endpoint,
    answer_rules.stalled,
)


def diagnose(evidence: Evidence) -> tuple[Finding, ...]:
    """Name the cause of a start that did not come up, best first; never empty, never a guess."""
    case = make_case(evidence)
    for rule in RULES:
        finding = rule(case)
        if finding is not None:
            return (finding,)
    return (ending_rules.unknown(case),)
