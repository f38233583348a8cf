"""Look at this machine for what remedies need to know of it: the edge that fills in a `Machine`."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from masuka_magic.diagnosis.machine import Machine


def this_machine() -> Machine:
    """Look once; nothing is started, and every answer is a look at a file."""
    debian_programs = Path("/usr/lib/postgresql")
    script = Path("/etc/init.d/postgresql")
    return Machine(
        root=os.geteuid() == 0,
        colab="COLAB_RELEASE_TAG" in os.environ or _has_google_colab(),
        sudo=shutil.which("sudo") is not None,
        systemd=Path("/run/systemd/system").is_dir(),
        service=shutil.which("service") is not None and script.exists(),
        brew=shutil.which("brew") is not None,
        apt=shutil.which("apt-get") is not None,
        server=debian_programs.is_dir() or shutil.which("postgres") is not None,
        pg_ctl=shutil.which("pg_ctl") is not None,
        data_folder=os.environ.get("PGDATA") or None,
    )


def _has_google_colab() -> bool:
    try:
        return importlib.util.find_spec("google.colab") is not None
    except ModuleNotFoundError:  # There is no package `google` at all.
        return False
