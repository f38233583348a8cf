"""What a run leaves on disk about itself, so that a later kernel can find it again.

Written whole or not at all; read with the mistrust that a file deserves which names a process to signal.
This room takes no decision about adoption: it says what the record holds and whether the process proves it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from masuka_magic.process.folder import RECORD, FolderError, check_private
from masuka_magic.process.identity import ProcessIdentity, carries_run, is_alive

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from masuka_magic.config.model import StartConfig

T = TypeVar("T")

VERSION = 1
MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One run. `argv` and `config` are masked; `config` is what the user wrote, names not filled in.

    `started_at` is wall clock, ISO 8601 with its zone. `outcome` is None until something has come of the run;
    what is in it is the writer's matter. `kernel` is the process that started the run.
    """

    service: str
    run: str
    argv: tuple[str, ...]
    cwd: str
    host: str
    port: int
    url: str
    process: ProcessIdentity
    kernel: ProcessIdentity
    started_at: str
    config: Mapping[str, Any]
    fingerprint: str
    outcome: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RecordRead:
    """A record, or the reason, in one line, why there is none to be trusted."""

    record: Record | None
    refused: str | None = None


def fingerprint(config: StartConfig, run: str) -> str:
    """Digest everything that is started; equal for equal configurations of the same run value.

    The run value is the key: the digest cannot be looked up in a table of digests of known passwords.
    """
    passed_over = {"raw", "secrets", "config_file"}
    values = {name: value for name, value in _fields(config).items() if name not in passed_over}
    text = json.dumps(values, sort_keys=True, default=_plain)
    return hashlib.blake2b(text.encode(), key=run.encode()[-64:], digest_size=16).hexdigest()


def _fields(value: DataclassInstance) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return dict(value)
    # What TOML has beyond JSON: dates and times.
    return str(value)


def write_record(folder: Path, record: Record, mask: Callable[[str], str]) -> None:
    """Put the record into the run's folder, over an older one, in one step.

    Everything that may hold foreign text is masked. Raises OSError (a full disk, a folder that is gone); the
    older record, if there is one, is then still there.
    """
    values = _fields(record)
    for name in ("argv", "url", "config", "outcome"):
        values[name] = _masked(values[name], mask)
    text = json.dumps({"version": VERSION, **values}, indent=1, default=_plain)
    part = folder / f".{RECORD}.{secrets.token_hex(8)}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            file.write(text)
        part.replace(folder / RECORD)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _masked(value: object, mask: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {str(key): _masked(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item, mask) for item in value]
    return value


def read_record(folder: Path) -> RecordRead:
    """Read the record of a run's folder; anything that we cannot have written is refused with its reason."""
    path = folder / RECORD
    try:
        check_private(folder)
        text = _read_private(path)
        return RecordRead(_parse(text))
    except FileNotFoundError:
        return RecordRead(None, f"{path} is not there")
    except OSError as error:
        # O_NOFOLLOW answers ELOOP for a symbolic link.
        return RecordRead(None, f"{path} cannot be read: {error.strerror}")
    except (FolderError, _RefusedError) as error:
        return RecordRead(None, str(error) if isinstance(error, FolderError) else f"{path} {error}")


class _RefusedError(Exception):
    """Why a record is not trusted, as the end of a sentence that begins with its path."""


def _read_private(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise _RefusedError("is no regular file")
        if facts.st_uid != os.geteuid():
            raise _RefusedError(f"belongs to user {facts.st_uid}, not to {os.geteuid()}")
        if stat.S_IMODE(facts.st_mode) & 0o077:
            raise _RefusedError(f"is open to other users (mode {stat.S_IMODE(facts.st_mode):04o})")
        if facts.st_size > MAX_BYTES:
            raise _RefusedError(f"is too large ({facts.st_size} bytes)")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(descriptor)


def _parse(text: bytes) -> Record:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise _RefusedError("is not JSON") from None
    if not isinstance(values, dict):
        raise _RefusedError("holds no table")
    version = values.pop("version", None)
    if type(version) is not int or version != VERSION:
        raise _RefusedError(f"has version {version!r:.40}, not {VERSION}")
    outcome = values.get("outcome")
    return Record(
        service=_typed(values, "service", str),
        run=_typed(values, "run", str),
        argv=_argv(values),
        cwd=_typed(values, "cwd", str),
        host=_typed(values, "host", str),
        port=_typed(values, "port", int),
        url=_typed(values, "url", str),
        process=_identity(values, "process"),
        kernel=_identity(values, "kernel"),
        started_at=_typed(values, "started_at", str),
        config=_typed(values, "config", dict),
        fingerprint=_typed(values, "fingerprint", str),
        outcome=None if outcome is None else _typed(values, "outcome", dict),
    )


def _typed(values: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = values.get(key)
    # bool is an int, but no port and no pid.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _RefusedError(f"has no {kind.__name__} at {key!r}")
    return value


def _argv(values: Mapping[str, Any]) -> tuple[str, ...]:
    argv: list[Any] = _typed(values, "argv", list)
    if not all(isinstance(word, str) for word in argv):
        raise _RefusedError("has no list of strings at 'argv'")
    return tuple(argv)


def _identity(values: Mapping[str, Any], key: str) -> ProcessIdentity:
    table: dict[str, Any] = _typed(values, key, dict)
    pid, start = _typed(table, "pid", int), _typed(table, "start", int)
    # 0 and negative numbers mean groups to kill(2); 1 is never a backend of ours.
    if not 1 < pid < 2**31 and key == "process":
        raise _RefusedError(f"has pid {pid} at {key!r}")
    return ProcessIdentity(pid, start, _typed(table, "boot_id", str))


def proved(record: Record, run_value: str) -> bool:
    """Say whether the recorded process is there and is this run's: its identity, and the value it carries."""
    return (
        record.run == run_value
        and is_alive(record.process)
        and carries_run(record.process.pid, run_value) is True
        # Once more: between the two looks the pid may have been given to another.
        and is_alive(record.process)
    )
