"""Python tracebacks in lines of a log, read back into chains of exceptions.

Source of the format: CPython's Lib/traceback.py (3.8 to 3.14). The reader goes over the lines once, whatever
stands between them, and keeps only what ends in an exception's own line. It knows no cause and no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from masuka_magic.diagnosis.exceptions import ExceptionReport, Frame, SyntaxSpot

if TYPE_CHECKING:
    from masuka_magic.diagnosis.evidence import LogLine

HEADER = "Traceback (most recent call last):"
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_FRAME = re.compile(r'\s*File "([^"]*)", line (\d+)(?:, in (.*))?$')
_MARKERS = re.compile(r"\s*[~^][~^ ]*$")
_REPEATED = re.compile(r"\s*\[Previous line repeated \d+ more times?\]$")
_RAISED = re.compile(r"([^\W\d][\w.]*(?:\.<locals>[\w.]*)*)(?:: (.*)|:?)$", re.DOTALL)
_RECORD = re.compile(
    r"(?:\x1b\[\d+m)?(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)\b(?:\x1b\[\d+m)?\s*(?:[:\[(\]|-]|\s)"
    r"|\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d"
)
_GROUP = re.compile(r"\+ Exception Group " + re.escape(HEADER))
_MEMBER = re.compile(r"\+(?:-\+)?-+ (?:\d+|\.\.\.) -+$")
_GROUP_END = re.compile(r"\+-{10,}$")
_ENDINGS = ("Error", "Exception", "Exit", "Interrupt", "Warning", "Group", "Iteration")
_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?")
_CANNOT_IMPORT = re.compile(
    r"cannot import name '([^']+)' from (?:partially initialized module )?'[^']+'(?: \((.+)\))?"
)
_NO_ATTRIBUTE = re.compile(r"has no attribute '([^']+)'")
_NO_NAME = re.compile(r"name '([^']+)' is not defined")
_ERRNO = re.compile(r"\[Errno (-?\d+)\]")
_FILENAME = re.compile(r": '([^']+)'$")
_SYNTAX = frozenset({"SyntaxError", "IndentationError", "TabError"})

#: A longer line is not read to its end, a longer message not kept, deeper groups not entered.
_LONGEST_LINE = 4_000
_MESSAGE_LINES = 60
_FRAMES_KEPT = 400
_SKIPPED_AT_MOST = 40
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Traceback:
    """One chain: the exception that ended it first, then what it came from, as the bootstrap reports chains.

    `lines` holds, for each exception of the chain, the line of the log that has its type and message.
    """

    chain: tuple[ExceptionReport, ...]
    lines: tuple[LogLine, ...]


def tracebacks(log: Sequence[LogLine]) -> tuple[Traceback, ...]:
    """Read every traceback of a log, in its order; each stream by itself. Linear in the number of lines."""
    found: list[Traceback] = []
    streams: dict[str, list[LogLine]] = {}
    for line in log:
        streams.setdefault(line.stream, []).append(line)
    for lines in streams.values():
        found.extend(_Reader(lines, 0).read())
    return tuple(found)


class _Reader:
    """One pass over the lines; `at` only ever grows."""

    def __init__(self, lines: Sequence[LogLine], depth: int) -> None:
        self.lines = lines
        self.depth = depth
        self.at = 0
        self.prefix = ""

    def read(self) -> Iterator[Traceback]:
        chain: list[tuple[ExceptionReport, LogLine]] = []
        link: Literal["cause", "context"] | None = None
        while self.at < len(self.lines):
            text = self._text(self.at)
            following = _link(text)
            if not text.strip() or (following is not None and chain):
                link = following or link
                self.at += 1
                continue
            before = self.at
            one = self._exception(text)
            if chain and (one is None or link is None):
                yield _closed(chain)
                chain, link = [], None
            if one is not None:
                chain.append((replace(one[0], link=link), one[1]))
                link = None
            elif self.at == before:
                self.at += 1
        if chain:
            yield _closed(chain)

    def _text(self, index: int) -> str:
        text = self.lines[index].text[:_LONGEST_LINE].rstrip("\r\n")
        return text[len(self.prefix) :] if self.prefix and text.startswith(self.prefix) else text

    def _exception(self, text: str) -> tuple[ExceptionReport, LogLine] | None:
        """Read one exception that begins at this line. What was read in vain is passed, so nothing is read
        twice.
        """
        head = text.find(HEADER)
        if head < 0:
            if self.depth and text[:1].strip():
                # A member of a group that was never raised has no traceback.
                return self._raised((), None)
            # A log that begins in the middle of a traceback still shows its frames.
            return self.body() if _FRAME.match(text) else None
        if _GROUP.search(text) and self.depth < _DEEPEST:
            return self._group()
        self._learn_prefix(self.lines[self.at].text[: self.lines[self.at].text.find(HEADER)])
        self.at += 1
        return self.body()

    def _learn_prefix(self, before: str) -> None:
        """Take what stands before the header for a prefix of every line only when the next line has it
        too.
        """
        following = self.lines[self.at + 1].text if self.at + 1 < len(self.lines) else ""
        self.prefix = before if before.strip() and following.startswith(before) else ""

    def body(self) -> tuple[ExceptionReport, LogLine] | None:
        frames: list[Frame] = []
        syntax: SyntaxSpot | None = None
        skipped = 0
        while self.at < len(self.lines) and skipped <= _SKIPPED_AT_MOST:
            text = self._text(self.at)
            if frame := _FRAME.match(text):
                if frame[3] is None:
                    syntax = self._syntax_spot(frame)
                else:
                    frames.append(self._frame(frame))
                    if len(frames) > 2 * _FRAMES_KEPT:
                        del frames[_FRAMES_KEPT // 2 : len(frames) - _FRAMES_KEPT // 2]
                skipped = 0
                continue
            if HEADER in text:
                return None
            if not _MARKERS.match(text) and not _REPEATED.match(text):
                raised = None if _RECORD.match(text) else self._raised(tuple(frames), syntax)
                if raised is not None:
                    return raised
                # Another thread's line in between: go on, but not for ever.
                skipped += 1
            self.at += 1
        return None

    def _frame(self, match: re.Match[str]) -> Frame:
        self.at += 1
        source = ""
        if self.at < len(self.lines):
            text = self._text(self.at)
            if text[:1] in {" ", "\t"} and not _FRAME.match(text) and not _MARKERS.match(text):
                source = text.strip()
                self.at += 1
                self._skip_statement()
        return Frame(match[1], int(match[2]), match[3] or "", source)

    def _skip_statement(self) -> None:
        """Pass the further lines of a statement that is shown whole (3.13 and later), with their markers."""
        for _ in range(_SKIPPED_AT_MOST):
            if self.at >= len(self.lines):
                return
            text = self._text(self.at)
            if not text.startswith("    ") or _FRAME.match(text):
                return
            self.at += 1

    def _syntax_spot(self, match: re.Match[str]) -> SyntaxSpot:
        self.at += 1
        text, offset = "", 0
        if self.at < len(self.lines) and not _RAISED.match(self._text(self.at)):
            shown = self._text(self.at)
            text = shown.strip()
            self.at += 1
            if self.at < len(self.lines) and _MARKERS.match(self._text(self.at)):
                marker = self._text(self.at)
                offset = len(marker) - len(marker.lstrip()) - (len(shown) - len(shown.lstrip())) + 1
                self.at += 1
        return SyntaxSpot(match[1], int(match[2]), max(offset, 0), text)

    def _raised(
        self, frames: tuple[Frame, ...], syntax: SyntaxSpot | None
    ) -> tuple[ExceptionReport, LogLine] | None:
        line = self.lines[self.at]
        raised = _RAISED.match(self._text(self.at))
        if raised is None or not _names_an_exception(
            raised[1], said=bool(frames or syntax) and raised[2] is not None
        ):
            return None
        self.at += 1
        message = "\n".join([raised[2] or "", *self._continuation()]).rstrip()
        return _report(raised[1], message, frames, syntax), line

    def _continuation(self) -> list[str]:
        """Read the further lines of a message: up to an empty line, a record of a logger or the next
        traceback.
        """
        more: list[str] = []
        while self.at < len(self.lines) and len(more) < _MESSAGE_LINES:
            text = self._text(self.at)
            if not text.strip():
                after = self._text(self.at + 1) if self.at + 1 < len(self.lines) else ""
                if not after.startswith(("(Background on this error", "[SQL: ")):
                    break
            elif (
                _RECORD.match(text)
                or HEADER in text
                or _link(text)
                or text.lstrip().startswith("+ Exception Group")
            ):
                break
            more.append(text)
            self.at += 1
        return more

    def _group(self) -> tuple[ExceptionReport, LogLine] | None:
        """Read a group: its own traceback behind one bar, each member's behind the next."""
        self.at += 1
        indent = _gutter(self._text(self.at)) if self.at < len(self.lines) else 0
        head: list[LogLine] = []
        members: list[list[LogLine]] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            text = self._text(self.at)
            gutter = _gutter(text)
            if gutter < indent or text[gutter : gutter + 1] not in {"|", "+"}:
                break
            self.at += 1
            separator = text[gutter:]
            if gutter == indent + 2 and _GROUP_END.match(separator):
                break
            if _MEMBER.match(separator) and gutter == indent + (0 if separator.startswith("+-+") else 2):
                members.append([])
            elif members:
                members[-1].append(replace(line, text=text[indent + 4 :]))
            else:
                head.append(replace(line, text=text[indent + 2 :]))
        one = _Reader(head, self.depth).body()
        if one is None:
            return None
        inner = [next(_Reader(member, self.depth + 1).read(), None) for member in members]
        return replace(one[0], exceptions=tuple(found.chain for found in inner if found is not None)), one[1]


def _gutter(text: str) -> int:
    return len(text) - len(text.lstrip())


def _names_an_exception(name: str, *, said: bool) -> bool:
    """Tell an exception's line from any other `word: text`: by its name, or by frames above and a class's
    name.
    """
    last = name.rpartition(".")[2]
    return last.endswith(_ENDINGS) or (said and (last[0].isupper() or "." in name))


def _link(text: str) -> Literal["cause", "context"] | None:
    if _CAUSE in text:
        return "cause"
    return "context" if _CONTEXT in text else None


def _closed(chain: list[tuple[ExceptionReport, LogLine]]) -> Traceback:
    """Turn the printed order around: an exception comes before its cause, and the cause has the link."""
    links = [*(one.link for one, _ in chain[1:]), None]
    turned = [replace(one, link=link) for (one, _), link in zip(chain, links, strict=True)]
    return Traceback(tuple(reversed(turned)), tuple(line for _, line in reversed(chain)))


def _report(name: str, message: str, frames: tuple[Frame, ...], syntax: SyntaxSpot | None) -> ExceptionReport:
    module, _, kind = name.rpartition(".")
    module = module.removesuffix(".<locals>") or "builtins"
    errno = _ERRNO.search(message)
    filename = _FILENAME.search(message) if errno else None
    missing, path = None, None
    if kind in {"ImportError", "ModuleNotFoundError"}:
        if found := _NO_MODULE.search(message):
            missing = found[1]
        elif found := _CANNOT_IMPORT.search(message):
            missing, path = found[1], found[2]
    elif (kind == "AttributeError" and (found := _NO_ATTRIBUTE.search(message))) or (
        kind == "NameError" and (found := _NO_NAME.search(message))
    ):
        missing = found[1]
    return ExceptionReport(
        type=kind,
        module=module,
        message=message,
        frames=frames,
        name=missing,
        path=path,
        syntax=syntax if kind in _SYNTAX else None,
        errno=None if errno is None else int(errno[1]),
        filename=None if filename is None else filename[1],
    )
