"""What a start was asked to be: one frozen value, complete and valid.

Whoever holds a StartConfig need not check anything again. This room reads no file and no environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TargetKind = Literal["app", "script", "module", "command"]


class ConfigError(ValueError):
    """Bad input: one line that names the place, the value and the nearest valid name. Nothing was started."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to run. `value` is as the user wrote it; `argv` is the split command of a `command`, else empty.

    With `shell = true` the argv of a command is ("/bin/sh", "-c", value).
    """

    kind: TargetKind
    value: str
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """What counts as ready: a GET of `path` answered with `status`, holding every pair of `json`
    (nested tables are compared as subsets), within `timeout_s` in all, by a process of ours (`owner` "any":
    by anybody).
    """

    path: str = "/health"
    status: int = 200
    json: Mapping[str, Any] | None = None
    timeout_s: float = 5.0
    owner: Literal["ours", "any"] = "ours"


@dataclass(frozen=True, slots=True)
class Database:
    """The database URL that the backend itself will see, and where it stands.

    `source`: "database", "[env]", "env_file NAME", "the kernel's environment", ".env", or
    "MASUKA V2's defaults".
    `hidden` names a place whose other value is hidden by this one (a variable set in the kernel hides .env).
    """

    url: str
    source: str
    hidden: str | None = None


@dataclass(frozen=True, slots=True)
class StartConfig:
    """One start. Paths are absolute; `env` holds what is added to the kernel's environment, filled in.

    `port` None means "auto": a free one is picked before the checks. `python` is an absolute path.
    `orphan_grace_s` None means "never". `secrets` are values to mask wherever something is shown.
    `raw` is what the user wrote (merged, not filled in, literal secrets masked): fit for a record on disk.
    `config_file` is the masuka.toml that was read, if any.
    """

    target: Target
    cwd: str
    python: str
    name: str = "backend"
    factory: bool = False
    server: Literal["uvicorn", "hypercorn", "gunicorn"] = "uvicorn"
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int | None = 8000
    health: Health = field(default_factory=Health)
    database: Database | None = None
    gpu: bool = False
    stall_s: float = 40.0
    max_wait_s: float = 600.0
    on_stall: Literal["keep", "stop"] = "keep"
    liveness_s: float = 30.0
    orphan_grace_s: float | None = 600.0
    max_log_bytes: int = 1_000_000_000
    secrets: frozenset[str] = frozenset()
    raw: Mapping[str, Any] = field(default_factory=dict)
    config_file: str | None = None


@dataclass(frozen=True, slots=True)
class StartOptions:
    """How this one call behaves; not part of what is started."""

    wait: bool = True
    restart: bool = False
    reuse: bool = False
    text: bool = False
    quiet: bool = False
