"""Which checks a start has: those that can prevent it, and those that only advise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from masuka_magic.preflight.application import ApplicationCheck
from masuka_magic.preflight.broker import broker_checks
from masuka_magic.preflight.check import Checks
from masuka_magic.preflight.database import DatabaseCheck
from masuka_magic.preflight.machine import machine_checks
from masuka_magic.preflight.port import PortCheck

if TYPE_CHECKING:
    from collections.abc import Mapping

    from masuka_magic.config.model import StartConfig


def checks_for(config: StartConfig, environ: Mapping[str, str]) -> Checks:
    """Choose the checks of a configuration, in the order in which they are shown."""
    return Checks(
        needed=(DatabaseCheck(), PortCheck(), ApplicationCheck(), *machine_checks(config)),
        advisory=broker_checks(config, environ),
    )
