"""What the bootstrap wrote into the run folder, read back as values.

The child's process, and so every program in it, can write these files: each line is foreign text until every
field of it has the type it must have. This room knows no event and draws no conclusion.
"""

from __future__ import annotations

import binascii
import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from masuka_magic.diagnosis.exceptions import ExceptionReport, Frame, SyntaxSpot
from masuka_magic.process.folder import REPORTS

VERSION = 1
SLOT_BYTES = 1024
#: Longer than the longest line that the bootstrap can write.
MAX_READ_BYTES = 4 << 20
MAX_ITEMS = 100
MAX_NUMBER = 2**63
MAX_GROUP_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Report:
    """One line: when (`at`, seconds of the machine's monotonic clock) and which process wrote it."""

    at: float
    pid: int
    ppid: int


@dataclass(frozen=True, slots=True)
class Hello(Report):
    """A process is watched, and writes its stacks when SIGUSR1 comes. `path0` is its sys.path[0]."""

    python: str
    executable: str
    role: Literal["main", "child"]
    path0: str | None


@dataclass(frozen=True, slots=True)
class ImportStarted(Report):
    """The application's import, or the run of a script or module, has begun."""

    module: str


@dataclass(frozen=True, slots=True)
class ImportFinished(Report):
    """The application is imported. `packages` are the largest, with their own seconds.

    `attribute`: whether the module has it, None where that cannot be known. `candidates` name what in the
    module looks like an application or a factory of one.
    """

    module: str
    seconds: float
    modules: int
    packages: tuple[tuple[str, float], ...]
    attribute: bool | None
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportFailed(Report):
    """An exception has left the application's import; `chain` begins with what was raised."""

    module: str
    seconds: float
    chain: tuple[ExceptionReport, ...]


@dataclass(frozen=True, slots=True)
class ImportMissing(Report):
    """A module of the application's dotted name was imported, and there is none."""

    module: str


@dataclass(frozen=True, slots=True)
class Crashed(Report):
    """An exception has reached the top of a process; `chain` begins with what was raised."""

    chain: tuple[ExceptionReport, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a process was importing `at`: the top-level package `now` and its `module`, None between imports.

    `modules` have run since the application's import began (before that: since the process began); `packages`
    are the largest, with their own seconds, at most 0.05 s older than `at`. `now` is exact; within a package,
    `module` and `modules` may be 5 ms older than what goes on.
    """

    at: float
    now: str | None
    module: str | None
    modules: int
    packages: tuple[tuple[str, float], ...]


class ReportReader:
    """Reads the reports of one run as they are written.

    `rejected` counts the lines that no bootstrap can have written as they stand: torn, foreign, too long.
    """

    def __init__(self, folder: Path) -> None:
        """Take the run folder; nothing is opened before the first read."""
        self._path = folder / REPORTS
        self._offset = 0
        self._within_long_line = False
        self.rejected = 0

    def read_new(self) -> list[Report]:
        """Return what complete lines have come since the last call, at most 4 MiB of them. Raises nothing."""
        text = _read_regular_file(self._path, self._offset, MAX_READ_BYTES)
        end = text.rfind(b"\n") + 1
        if not end and len(text) == MAX_READ_BYTES:
            # A line that never ends must not be read again and again.
            self._offset += len(text)
            self._within_long_line = True
            return []
        self._offset += end
        lines = text[:end].split(b"\n")[:-1]
        if lines and self._within_long_line:
            self._within_long_line = False
            self.rejected += 1
            del lines[0]
        reports = [parse_report(line) for line in lines]
        self.rejected += reports.count(None)
        return [report for report in reports if report is not None]


def read_progress(folder: Path, pid: int) -> Progress | None:
    """Return what the process was importing last, None if that is unknown or being written at this moment."""
    slot = _read_regular_file(folder / f"import-{pid}.now", 0, SLOT_BYTES)
    text = slot[9:-1]
    if len(slot) != SLOT_BYTES or slot[:9] != b"%08x " % binascii.crc32(text):
        return None
    try:
        record = Record(load(text))
        return Progress(
            at=record.seconds("at"),
            now=record.optional_text("now"),
            module=record.optional_text("module"),
            modules=record.number("modules"),
            packages=record.packages("packages"),
        )
    except ValueError:
        return None


def parse_report(line: bytes) -> Report | None:
    """Return the report that a line holds, or None if it holds none."""
    try:
        record = Record(load(line))
        if record.number("v") != VERSION:
            return None
        return _build(record, record.text("kind"))
    except ValueError:
        return None


def _build(record: Record, kind: str) -> Report:
    at, pid, ppid = record.seconds("at"), record.number("pid"), record.number("ppid")
    match kind:
        case "hello":
            role: Literal["main", "child"] = "main" if record.text("role") == "main" else "child"
            python, executable = record.text("python"), record.text("executable")
            return Hello(at, pid, ppid, python, executable, role, record.optional_text("path0"))
        case "import-started":
            return ImportStarted(at, pid, ppid, record.text("module"))
        case "import-finished":
            return ImportFinished(
                at,
                pid,
                ppid,
                module=record.text("module"),
                seconds=record.seconds("seconds"),
                modules=record.number("modules"),
                packages=record.packages("packages"),
                attribute=record.optional_flag("attribute"),
                candidates=record.texts("candidates"),
            )
        case "import-failed":
            chain = record.record("exception").chain()
            return ImportFailed(at, pid, ppid, record.text("module"), record.seconds("seconds"), chain)
        case "import-missing":
            return ImportMissing(at, pid, ppid, record.text("module"))
        case "crashed":
            return Crashed(at, pid, ppid, record.record("exception").chain())
    raise ValueError(kind)


def load(text: bytes) -> object:
    """Parse JSON. Raises ValueError for whatever is none, NaN and nesting without end included."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


class Record:
    """A JSON object, asked for fields of a type. A question raises ValueError where the answer is another."""

    def __init__(self, value: object) -> None:
        """Take a parsed JSON value."""
        if not isinstance(value, dict):
            raise ValueError("no object")  # noqa: TRY004 - foreign data is a wrong value, not a wrong call
        self._fields: dict[str, object] = value

    def text(self, name: str) -> str:
        return _text(self._fields.get(name))

    def optional_text(self, name: str) -> str | None:
        value = self._fields.get(name)
        return None if value is None else _text(value)

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(_text(value) for value in self._items(name))

    def number(self, name: str) -> int:
        return _number(self._fields.get(name))

    def optional_number(self, name: str) -> int | None:
        value = self._fields.get(name)
        return None if value is None else _number(value)

    def optional_flag(self, name: str) -> bool | None:
        value = self._fields.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise ValueError(name)

    def seconds(self, name: str) -> float:
        return _seconds(self._fields.get(name))

    def record(self, name: str) -> Record:
        return Record(self._fields.get(name))

    def packages(self, name: str) -> tuple[tuple[str, float], ...]:
        found = []
        for pair in self._items(name):
            if not isinstance(pair, list) or len(pair) != 2:  # noqa: PLR2004 - a pair
                raise ValueError(name)
            found.append((_text(pair[0]), _seconds(pair[1])))
        return tuple(found)

    def chain(self, depth: int = 0) -> tuple[ExceptionReport, ...]:
        """Return the exceptions of an `exception` field, what was raised first. Never empty."""
        if depth > MAX_GROUP_DEPTH:
            raise ValueError("nested too deeply")
        chain = tuple(Record(item).exception(depth) for item in self._items("chain"))
        # Of an exception that was described before, a group repeats nothing.
        if not chain and not depth:
            raise ValueError("an empty chain")
        return chain

    def exception(self, depth: int) -> ExceptionReport:
        spot = None if self._fields.get("syntax") is None else self.record("syntax")
        members = (Record(item).chain(depth + 1) for item in self._items("exceptions"))
        return ExceptionReport(
            type=self.text("type"),
            module=self.text("module"),
            # Without the "(main.py, line 3)" that str() adds: a traceback shows it without, too.
            message=(spot.optional_text("message") if spot else None) or self.text("message"),
            frames=tuple(Record(item).frame() for item in self._items("frames")),
            notes=self.texts("notes"),
            name=self.optional_text("name"),
            path=self.optional_text("path"),
            syntax=spot.spot() if spot else None,
            errno=self.optional_number("errno"),
            filename=self.optional_text("filename"),
            link=self.link(),
            exceptions=tuple(member for member in members if member),
        )

    def link(self) -> Literal["cause", "context"] | None:
        match self._fields.get("link"):
            case None:
                return None
            case "cause":
                return "cause"
            case "context":
                return "context"
        raise ValueError("link")

    def frame(self) -> Frame:
        return Frame(self.text("file"), self.number("line"), self.text("function"), self.text("source"))

    def spot(self) -> SyntaxSpot:
        return SyntaxSpot(
            file=self.optional_text("file") or "",
            line=self.optional_number("line") or 0,
            offset=max(0, self.optional_number("offset") or 0),
            text=self.optional_text("text") or "",
        )

    def _items(self, name: str) -> list[object]:
        value = self._fields.get(name)
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ValueError(name)
        return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - foreign data is a wrong value, not a wrong call
    # A lone surrogate cannot be shown or stored.
    return value.encode("utf-8", "backslashreplace").decode()


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_NUMBER:
        raise ValueError("no number")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    return float(_number(value))


def _read_regular_file(path: Path, offset: int, size: int) -> bytes:
    """Read part of a file of the run folder; nothing is there if it is a link, a FIFO, or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, size, offset) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
