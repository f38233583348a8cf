"""What the reading of a configuration may ask the kernel: its folder, interpreter, environment, variables,
files and Colab's secrets, as values and callables.

This is the thin edge of the room: `kernel_world` wires the real things, and everything else sees a World
alone. Nothing is decided here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from masuka_magic.config.model import ConfigError

# A file of settings is small; a log or a database named by mistake shall not be read into the kernel.
LARGEST_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class World:
    """The kernel as it is at this moment.

    `cwd` and `python` are absolute. `read_text` gives None where there is no such file and may raise OSError
    and UnicodeDecodeError. `secret` gives None for an unknown name and may raise ConfigError, one line
    without a place.
    """

    cwd: str
    python: str
    environ: Mapping[str, str]
    namespace: Mapping[str, Any]
    read_text: Callable[[str], str | None]
    secret: Callable[[str], str | None]
    which: Callable[[str], str | None]


def kernel_world(namespace: Mapping[str, Any]) -> World:
    """Look at this kernel; `namespace` holds the notebook's variables. Raises ConfigError if its folder is
    gone.
    """
    from shutil import which

    try:
        cwd = os.getcwd()  # noqa: PTH109 - a text is what the rest of the room works with
    except FileNotFoundError:
        raise ConfigError(
            "the kernel's working folder no longer exists; go to one that does: %cd /"
        ) from None
    return World(
        cwd=cwd,
        python=sys.executable,
        environ=dict(os.environ),
        namespace=namespace,
        read_text=read_small_file,
        secret=colab_secret,
        which=which,
    )


def read_small_file(path: str) -> str | None:
    """Read a file of settings; None if there is none. Raises OSError for what is no regular, small file."""
    import stat

    try:
        # Without O_NONBLOCK opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no regular file")
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise OSError(f"it is larger than {LARGEST_FILE_BYTES // 1_000_000} MB")
    return content.decode()


def colab_secret(name: str) -> str | None:
    """Ask Colab for one of the user's secrets; None outside Colab and for an unknown name.

    Colab may open a dialog. The exceptions are those of google/colab/userdata.py; they are told apart by
    name, since TimeoutException is not in every version of it. Raises ConfigError where the user has to act.
    """
    if "google.colab" not in sys.modules:
        return None
    from google.colab import userdata

    try:
        value = userdata.get(name)
    except Exception as error:  # noqa: BLE001 - an edge: what Colab raises has no common base
        match type(error).__name__:
            case "SecretNotFoundError":
                return None
            case "NotebookAccessError":
                raise ConfigError(
                    f"this notebook has no access to Colab's secret {name}, allow it in the Secrets panel"
                ) from None
            case "TimeoutException":
                raise ConfigError(
                    f"Colab did not give the secret {name} in time, run the cell again"
                ) from None
            case kind:
                raise ConfigError(f"Colab could not give the secret {name}: {kind}") from None
    return value if isinstance(value, str) else None
