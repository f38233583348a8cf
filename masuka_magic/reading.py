"""What `%masuka_logs`, `%masuka_status` and `%masuka_stop` understand and print.

They read what is known and what is on disk; nothing is started or stopped here.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from masuka_magic.config.model import ConfigError

if TYPE_CHECKING:
    from masuka_magic.backend import Backend, MaskedLog

#: Matching lines that `--grep` prints; the rest is counted.
GREP_LIMIT = 1_000


class _Parser(argparse.ArgumentParser):
    """Raises ConfigError in one line where argparse would print a usage and exit."""

    def __init__(self, magic: str) -> None:
        super().__init__(prog=magic, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        from difflib import get_close_matches

        known = [option for action in self._actions for option in action.option_strings]
        words = message.split()
        near = get_close_matches(words[-1], known, 1) if words else []
        hint = f", did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{self.prog}: {message}{hint}")

    def words(self, line: str) -> argparse.Namespace:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            self.error(str(error).lower())
        return self.parse_args(words)


@dataclass(frozen=True, slots=True)
class LogsWish:
    name: str | None
    lines: int
    streams: tuple[str, ...]
    grep: str | None
    follow: bool
    save: str | None
    raw: bool


@dataclass(frozen=True, slots=True)
class StatusWish:
    name: str | None
    json: bool


def parse_logs_line(line: str) -> LogsWish:
    """Read the line of `%masuka_logs`. Raises ConfigError."""
    parser = _Parser("%masuka_logs")
    parser.add_argument("name", nargs="?")
    parser.add_argument("-n", type=int, default=200, dest="lines")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stdout", action="store_true")
    which.add_argument("--both", action="store_true")
    parser.add_argument("--grep")
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--save")
    parser.add_argument("--raw", action="store_true")
    found = parser.words(line)
    if found.lines < 1:
        parser.error(f"-n must be at least 1, not {found.lines}")
    if found.grep is not None:
        try:
            re.compile(found.grep)
        except re.error as error:
            parser.error(f"--grep: {error}")
    streams = ("stdout", "stderr") if found.both else ("stdout",) if found.stdout else ("stderr",)
    if found.follow and len(streams) > 1:
        parser.error("--follow takes one stream: without --both")
    if found.follow and (found.grep is not None or found.save is not None):
        parser.error("--follow goes with neither --grep nor --save")
    return LogsWish(found.name, found.lines, streams, found.grep, found.follow, found.save, found.raw)


def parse_status_line(line: str) -> StatusWish:
    """Read the line of `%masuka_status`. Raises ConfigError."""
    parser = _Parser("%masuka_status")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--json", action="store_true")
    found = parser.words(line)
    return StatusWish(found.name, found.json)


def parse_name_line(magic: str, line: str) -> str | None:
    """Read a line that holds at most the name of a service. Raises ConfigError."""
    parser = _Parser(magic)
    parser.add_argument("name", nargs="?")
    name: str | None = parser.words(line).name
    return name


def print_logs(backend: Backend, wish: LogsWish) -> None:
    """Print, save or follow the captured streams as wished."""
    for stream in wish.streams:
        log: MaskedLog = getattr(backend, stream)
        if wish.save is not None:
            _save(log, stream, wish)
        elif wish.grep is not None:
            _grep(log, stream, wish)
        else:
            shown = _tail(log, stream, wish)
            if wish.follow:
                _follow(backend, log, wish, start=shown)


def status(backend: Backend) -> dict[str, Any]:
    """Return one glance at the backend as JSON-ready values; seconds and bytes."""
    state = backend.snapshot
    answer = state.answer
    return {
        "name": backend.name,
        "state": state.phase,
        "url": backend.url,
        "pid": state.pid,
        "target": state.target,
        "age_s": None if backend.over or backend.age_s is None else round(backend.age_s, 1),
        "rss_bytes": state.rss or None,
        "returncode": state.returncode,
        "answer": None
        if answer is None
        else {
            "status": answer.status,
            "error": answer.error,
            "seconds": round(answer.seconds, 4),
            "name": answer.name,
            "version": answer.version,
        },
        "timings": {name: round(seconds, 3) for name, seconds in state.timings.items()},
        "text": state.text,
        "findings": [{"code": finding.code, "title": finding.title} for finding in state.findings],
        "run_folder": str(backend.run_folder),
    }


def print_status(backend: Backend, wish: StatusWish) -> None:
    """Print the glance: a line for a person, or JSON."""
    seen = status(backend)
    if wish.json:
        print(json.dumps(seen, indent=2))
        return
    print("\n".join(status_lines(seen)))


def status_lines(seen: dict[str, Any]) -> list[str]:
    """Render a glance in at most a few lines of 80 columns."""
    from masuka_magic.quantities import duration, size

    first = [f"{seen['name']}  {seen['state']}", str(seen["url"])]
    if seen["pid"] is not None and seen["age_s"] is not None:
        first += [f"pid {seen['pid']}", f"up {duration(seen['age_s'])}"]
    if seen["rss_bytes"]:
        first.append(size(seen["rss_bytes"]))
    lines = ["  ".join(first)]
    answer = seen["answer"]
    if answer is not None:
        said = answer["error"] if answer["status"] is None else f"answered {answer['status']}"
        who = " ".join(word for word in (answer["name"], answer["version"]) if word)
        lines.append(
            "  " + ", ".join(word for word in (who, f"{said} in {duration(answer['seconds'])}") if word)
        )
    if seen["text"]:
        lines.append(f"  {seen['text']}")
    lines += [f"  {finding['title']}  [{finding['code']}]" for finding in seen["findings"]]
    return lines


def print_stopped(backend: Backend, *, was_over: bool) -> None:
    """Print what stopping has come to."""
    state = backend.snapshot
    print(f"{backend.name} was already {state.phase}" if was_over else f"{backend.name}: {state.text}")


def _tail(log: MaskedLog, stream: str, wish: LogsWish) -> int:
    """Print the last lines; return how many bytes of the log have been shown or passed over."""
    tail = log.file.tail(wish.lines, raw=wish.raw)
    lines = list(tail.lines) if wish.raw else [log.mask(line) for line in tail.lines]
    if len(wish.streams) > 1 or tail.bytes_before:
        before = (
            f", after {tail.bytes_before:,} bytes: -n, --grep or --save show them"
            if tail.bytes_before
            else ""
        )
        print(f"-- {stream}: the last {_counted(len(lines))}{before}")
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
    elif not log.size:
        print(f"-- {stream} is empty ({log.path})")
    return tail.size


def _counted(lines: int) -> str:
    return "line" if lines == 1 else f"{lines:,} lines"


def _grep(log: MaskedLog, stream: str, wish: LogsWish) -> None:
    found = log.file.grep(wish.grep or "", GREP_LIMIT)
    for number, line in found.lines:
        print(f"{number}: {line if wish.raw else log.mask(line)}")
    if found.more:
        print(f"-- {stream}: {found.more:,} more lines match")
    elif not found.lines:
        print(f"-- {stream}: no line matches")


def _save(log: MaskedLog, stream: str, wish: LogsWish) -> None:
    path = Path(wish.save or "").expanduser()
    if len(wish.streams) > 1:
        path = path.with_name(f"{path.stem}.{stream}{path.suffix}")
    written = log.file.save(path, raw=wish.raw, mask=log.mask)
    print(f"-- {stream}: {written:,} bytes saved to {path}")


def _follow(backend: Backend, log: MaskedLog, wish: LogsWish, *, start: int) -> None:
    """Print new lines until the backend has ended or the cell is interrupted, which is no error."""
    ended = threading.Event()

    def watch() -> None:
        backend.wait_over()
        ended.set()

    threading.Thread(target=watch, name="masuka-follow", daemon=True).start()
    try:
        for line in log.file.follow(ended, start=start, raw=wish.raw):
            print(line if wish.raw else log.mask(line), flush=True)
    except KeyboardInterrupt:
        print("-- no longer following")
