"""What a remedy must know of the machine it is pasted on, as a value; somebody else looks and fills it in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """How things are started here.

    `systemd`: it is the init process. `service`: there is a `service` command with a script for PostgreSQL.
    `server`: PostgreSQL's server is installed. `data_folder`: the one that `pg_ctl` would use (`PGDATA`).
    """

    root: bool = False
    colab: bool = False
    sudo: bool = True
    systemd: bool = False
    service: bool = False
    brew: bool = False
    apt: bool = False
    server: bool = True
    pg_ctl: bool = False
    data_folder: str | None = None
