"""Read the log of a run while the child writes it: the end of it at once, the whole of it in bounded memory.

The file may grow, be missing, be empty, hold lines of many megabytes, bytes that are no text, and holes where
old lines were dropped. This room does not know whose log it is, masks nothing and never writes to it.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.process.logtext import cut, decoded, joined, plain, plain_lines, without_first_word

if TYPE_CHECKING:
    import threading

#: A log that is larger is not read through for the sake of line numbers.
NUMBERED_BYTES = 64 * 1024 * 1024
#: A line that is longer is shown by its two ends.
LINE_BYTES = 16 * 1024

_BLOCK = 256 * 1024
_CHUNK = 1024 * 1024
# How far back the beginnings of lines are looked for: bounds the time of a tail, not what it shows.
_SCAN_BYTES = 24 * 1024 * 1024
# Lines of more than twice this are not held whole while a log is searched or copied: their middle is left out.
_HELD_BYTES = 8 * 1024 * 1024
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines of a log of `size` bytes, ready to be shown.

    `bytes_before` lie before the first line; `first_line_number` counts from 1, None where counting would
    take too long or lines were dropped. `starts_mid_line`: the first line's beginning is not shown.
    """

    lines: tuple[str, ...] = ()
    size: int = 0
    bytes_before: int = 0
    first_line_number: int | None = None
    starts_mid_line: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """Lines in which a pattern was found, with their numbers; `more` counts those beyond the limit.

    A number is None behind a range of the log that was dropped.
    """

    lines: tuple[tuple[int | None, str], ...] = ()
    more: int = 0


class LogFile:
    """A log that somebody else writes. Every method looks at the file as it is now; no descriptor is kept.

    Text is plain unless `raw`: see logtext.plain. Invalid UTF-8 is shown with backslashes, always.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # (inode, offset, newlines before it): a log only grows, what was counted is not counted again.
        self._counted = (0, 0, 0)

    def __repr__(self) -> str:
        return f"<{self.path.name}: {self.size:,} bytes>"

    @property
    def size(self) -> int:
        """Bytes written so far; 0 when there is no file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def tail(
        self, n: int = 200, *, max_bytes: int = _CHUNK, raw: bool = False, numbered: bool = False
    ) -> Tail:
        """Return the last `n` lines, at most about `max_bytes` of them; a last line without an end is one.

        Reads from the end, never the whole file, unless the lines are to be `numbered`: then what is new since
        the last count is read too, in logs of up to 64 MB.
        """
        descriptor = self._open()
        if descriptor is None:
            return Tail()
        try:
            found = self._tail(descriptor, n, max_bytes, raw=raw)
            if not numbered or not found.lines or _first_data(descriptor, found.size) > 0:
                return found
            return replace(found, first_line_number=self._number_at(descriptor, found.bytes_before))
        finally:
            os.close(descriptor)

    def _tail(self, descriptor: int, n: int, max_bytes: int, *, raw: bool) -> Tail:
        size = os.fstat(descriptor).st_size
        begin = _first_data(descriptor, size)
        starts, mid_line = _line_starts(descriptor, begin, size, n)
        shown: list[str] = []
        left, first = max_bytes, size
        # From the last line back, until the bytes to show are used up.
        for start in reversed(starts):
            if shown and min(first - start, LINE_BYTES) > left:
                break
            line, read = _read_line(descriptor, start, first, min(LINE_BYTES, left))
            if mid_line and start == starts[0]:
                line = f"[… its beginning is not shown …] {without_first_word(line)}"
            shown.append(line if raw else plain(line))
            left, first = left - read, start
        return Tail(
            lines=tuple(reversed(shown)),
            size=size,
            bytes_before=first,
            starts_mid_line=mid_line and first == starts[0],
        )

    def _number_at(self, descriptor: int, offset: int) -> int | None:
        if offset > NUMBERED_BYTES:
            return None
        inode, counted, newlines = self._counted
        if inode != os.fstat(descriptor).st_ino or counted > offset:
            counted, newlines = 0, 0
        while counted < offset and (block := os.pread(descriptor, min(_CHUNK, offset - counted), counted)):
            newlines += block.count(b"\n")
            counted += len(block)
        self._counted = (os.fstat(descriptor).st_ino, counted, newlines)
        return newlines + 1

    def read(self, *, raw: bool = False) -> str:
        """Return the whole log as text; dropped ranges are passed over. A log may be large."""
        text = b"".join(chunk for _, chunk in self._chunks())
        return decoded(text) if raw else "\n".join(plain_lines(text))

    def grep(self, pattern: str | re.Pattern[str], limit: int | None = None) -> Matches:
        """Find the lines in which a regular expression matches; memory is bounded but for what is found.

        Lines are searched as they are shown, without colours, and shown cut when they are long.
        """
        search = re.compile(pattern).search
        found: list[tuple[int | None, str]] = []
        more, passed, dropped = 0, 0, False
        for offset, run in self._runs():
            dropped = dropped or offset > 0
            lines = plain_lines(run)
            for number, line in enumerate(lines, passed + 1):
                if search(line) is None:
                    continue
                if limit is None or len(found) < limit:
                    found.append((None if dropped else number, cut(line, LINE_BYTES)))
                else:
                    more += 1
            passed += len(lines)
        return Matches(tuple(found), more)

    def read_from(self, offset: int, max_bytes: int = _CHUNK) -> bytes:
        """Return the bytes behind an offset, as they are; nothing when there are none, or no file."""
        descriptor = self._open()
        if descriptor is None:
            return b""
        try:
            return os.pread(descriptor, max_bytes, offset)
        finally:
            os.close(descriptor)

    def follow(self, stop: threading.Event, *, start: int | None = None, raw: bool = False) -> Iterator[str]:
        """Yield lines as they are written, from an offset or from now on, until `stop` is set and all read.

        A line comes when it is complete; what has no end when it stops comes as the last one. Of a log that
        became shorter everything is new.
        """
        position = self.size if start is None else start
        pending = _Line(4 * LINE_BYTES)
        while True:
            # Asked before the reading: what was written until then is read below.
            stopping = stop.is_set()
            if self.size < position:
                position = 0
                pending.take()
            while block := self.read_from(position):
                position += len(block)
                for line in pending.feed(block):
                    yield _shown(line, raw=raw)
            if stopping:
                break
            stop.wait(_POLL_S)
        rest = pending.take()
        if rest:
            yield _shown(rest, raw=raw)

    def save(self, path: Path, *, raw: bool = False, mask: Callable[[str], str] | None = None) -> int:
        """Write a copy, line by line as it is shown, or the very bytes if `raw`; returns its size in bytes.

        The copy is ours alone (0600) and replaces a file of that name in one step. Dropped ranges are passed
        over. Raises OSError.
        """
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as copy:
                if raw:
                    copy.writelines(chunk for _, chunk in self._chunks())
                else:
                    for _, run in self._runs():
                        lines = plain_lines(run)
                        text = "\n".join(lines if mask is None else map(mask, lines))
                        copy.write(f"{text}\n".encode())
                written = copy.tell()
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return written

    def _open(self) -> int | None:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield what is there at the call with its offsets; a hole at the beginning is passed over."""
        descriptor = self._open()
        if descriptor is None:
            return
        try:
            size = os.fstat(descriptor).st_size
            position = _first_data(descriptor, size)
            while position < size and (chunk := os.pread(descriptor, min(_CHUNK, size - position), position)):
                yield position, chunk
                position += len(chunk)
        finally:
            os.close(descriptor)

    def _runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield runs of whole lines, without the end of the last of them; with each where the log begins now.

        Of a line beyond all measure the middle is left out.
        """
        pending = _Line(_HELD_BYTES)
        begin = 0
        for number, (position, chunk) in enumerate(self._chunks()):
            if number == 0:
                begin = position
            newline = chunk.rfind(b"\n")
            if newline < 0:
                pending.add(chunk)
                continue
            pending.add(chunk[:newline])
            yield begin, pending.take()
            pending.add(chunk[newline + 1 :])
        rest = pending.take()
        if rest:
            yield begin, rest


class _Line:
    """A line that is being read: all of it, or both ends of one that is longer than twice `held` bytes."""

    def __init__(self, held: int) -> None:
        self._held = held
        self._head, self._missing, self._rest = b"", 0, bytearray()

    def add(self, piece: bytes) -> None:
        self._rest += piece
        if len(self._rest) <= 2 * self._held:
            return
        half = self._held // 2
        if not self._missing:
            self._head = bytes(self._rest[:half])
            del self._rest[:half]
        self._missing += len(self._rest) - half
        del self._rest[:-half]

    def feed(self, block: bytes) -> list[bytes]:
        """Add a block; returns the lines that are complete now."""
        *ended, rest = block.split(b"\n")
        lines = []
        for piece in ended:
            self.add(piece)
            lines.append(self.take())
        self.add(rest)
        return lines

    def take(self) -> bytes:
        """Return what was added, and begin anew."""
        line = bytes(self._rest)
        if self._missing:
            line = joined(self._head, self._missing, line).encode()
        self._head, self._missing, self._rest = b"", 0, bytearray()
        return line


def _first_data(descriptor: int, size: int) -> int:
    """Find where the log begins behind the hole that dropped lines leave; 0 when none were dropped."""
    if size == 0 or os.pread(descriptor, 1, 0) != b"\0" or not hasattr(os, "SEEK_DATA"):
        return 0
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError:
        return size  # ENXIO: nothing but a hole.


def _line_starts(descriptor: int, begin: int, size: int, n: int) -> tuple[list[int], bool]:
    """Find the offsets at which the last `n` lines begin, in order.

    True beside them: the first is no line's beginning, but where the looking ended or a hole did.
    """
    starts: list[int] = []
    lowest = max(begin, size - _SCAN_BYTES)
    # The newline at the very end ends the last line, it begins no other.
    end, before = size, size - 1
    while end > lowest and len(starts) < n:
        base = max(lowest, end - _BLOCK)
        block = os.pread(descriptor, end - base, base)
        at = block.rfind(b"\n", 0, max(0, before - base))
        while at >= 0 and len(starts) < n:
            starts.append(base + at + 1)
            at = block.rfind(b"\n", 0, at)
        end = before = base
    mid_line = len(starts) < n and lowest > 0
    if len(starts) < n and size > lowest:
        starts.append(lowest)
    return starts[::-1], mid_line


def _read_line(descriptor: int, start: int, end: int, limit: int) -> tuple[str, int]:
    """Read a line, of a long one both ends; returns its text without its newline, and how much was read."""
    if end - start <= limit:
        line = os.pread(descriptor, end - start, start)
        return decoded(line.removesuffix(b"\n")), len(line)
    half = max(1, limit // 2)
    head = os.pread(descriptor, half, start)
    last = os.pread(descriptor, half, end - half).removesuffix(b"\n")
    return joined(head, end - start - 2 * half, last), 2 * half


def _shown(line: bytes, *, raw: bool) -> str:
    text = decoded(line)
    return cut(text if raw else plain(text), LINE_BYTES)
