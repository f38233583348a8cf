"""Tracebacks are read back from logs as Python printed them, whatever stands around them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

import pytest

from masuka_magic.diagnosis.evidence import LogLine
from masuka_magic.diagnosis.exceptions import SyntaxSpot
from masuka_magic.diagnosis.traceback import tracebacks

# Far above what a slow machine needs for 100,000 lines, far below what anything but linear time takes.
DEADLINE_S = 20.0


def lines(text: str) -> list[LogLine]:
    return [LogLine("stderr", number, line) for number, line in enumerate(text.split("\n"), 1)]


def key_error() -> None:
    empty: dict[str, object] = {}
    empty["x"]


def caused() -> None:
    try:
        key_error()
    except KeyError as error:
        raise ValueError("two\nlines") from error


def in_context() -> None:
    try:
        caused()
    except ValueError:
        raise RuntimeError("last")  # noqa: B904 - the context is what is tested


def grouped() -> None:
    raise ExceptionGroup("many", [ValueError("a"), ExceptionGroup("inner", [TypeError("b")]), KeyError("c")])


def unparsed() -> None:
    compile("x = 1\ndef f(\n", "app/routers.py", "exec")


def printed(function: Callable[[], None]) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each of them
        function()
    return "".join(traceback.format_exception(caught.value))


def test_a_chain_begins_with_what_nobody_caught() -> None:
    """The order and the links are those of the bootstrap's report."""
    (found,) = tracebacks(lines(printed(in_context)))
    assert [("RuntimeError", None), ("ValueError", "context"), ("KeyError", "cause")] == [
        (one.type, one.link) for one in found.chain
    ]
    assert ["last", "two\nlines", "'x'"] == [one.message for one in found.chain]


def test_frames_have_their_sources_and_no_markers() -> None:
    """The frame that raised is the last one, with its line of code."""
    (found,) = tracebacks(lines(printed(key_error)))
    last = found.chain[0].frames[-1]
    assert ("key_error", 'empty["x"]') == (last.function, last.source)
    assert __file__ == last.file


def test_lines_point_into_the_log() -> None:
    """The line of each exception's own words is known by its number."""
    text = "noise\nmore noise\n" + printed(in_context)
    (found,) = tracebacks(lines(text))
    assert ["RuntimeError: last", "ValueError: two", "KeyError: 'x'"] == [line.text for line in found.lines]
    assert all(text.split("\n")[line.number - 1] == line.text for line in found.lines if line.number)


@pytest.mark.parametrize("prefix", ["ERROR:    ", "[2026-01-01 10:00:00 +0000] [7] [ERROR] "])
def test_a_logger_may_have_prefixed_the_first_line(prefix: str) -> None:
    """As uvicorn logs a startup that failed; the record after it is no part of the message."""
    text = f"{prefix}{printed(in_context)}ERROR:    Application startup failed. Exiting."
    (found,) = tracebacks(lines(text))
    assert ("RuntimeError", "last") == (found.chain[0].type, found.chain[0].message)


def test_a_runner_may_have_prefixed_every_line() -> None:
    """As Compose and honcho do."""
    text = "\n".join(f"web-1  | {line}" for line in printed(in_context).splitlines())
    (found,) = tracebacks(lines(text))
    assert 3 == len(found.chain)
    assert "key_error" == found.chain[2].frames[-1].function


def test_other_lines_may_stand_in_between() -> None:
    """A thread that logs while the traceback is written does not end it."""
    text = printed(key_error).replace("KeyError", "INFO:     request 7\nKeyError")
    (found,) = tracebacks(lines(text))
    assert "KeyError" == found.chain[0].type


def test_each_traceback_of_a_log_is_found() -> None:
    """Two that have nothing to do with each other are two."""
    found = tracebacks(lines(f"{printed(key_error)}\nINFO:     retrying\n{printed(in_context)}"))
    assert ["KeyError", "RuntimeError"] == [one.chain[0].type for one in found]


def test_streams_are_read_apart() -> None:
    """A line of stdout never becomes part of a traceback of stderr."""
    stderr = lines(printed(key_error))
    mixed = [
        line
        for pair in zip(stderr, [LogLine("stdout", 1, "ValueError: x")] * len(stderr), strict=True)
        for line in pair
    ]
    (found,) = tracebacks(mixed)
    assert "KeyError" == found.chain[0].type


def test_a_group_keeps_its_members() -> None:
    """Members are chains of their own, also those that were never raised."""
    (found,) = tracebacks(lines("ERROR:    " + printed(grouped)))
    group = found.chain[0]
    assert ("ExceptionGroup", "many (3 sub-exceptions)") == (group.type, group.message)
    assert ["ValueError", "ExceptionGroup", "KeyError"] == [chain[0].type for chain in group.exceptions]


def test_a_syntax_error_has_its_spot() -> None:
    """File, line and column come from the lines above the message."""
    (found,) = tracebacks(lines(printed(unparsed)))
    assert SyntaxSpot("app/routers.py", 2, 6, "def f(") == found.chain[0].syntax
    assert "'(' was never closed" == found.chain[0].message


def test_a_message_may_have_an_empty_line() -> None:
    """SQLAlchemy's pointer to its documentation belongs to the message."""
    text = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
        "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) refused\n\tIs the server running?\n\n"
        "(Background on this error at: https://sqlalche.me/e/20/e3q8)\nplain output"
    )
    (found,) = tracebacks(lines(text))
    assert "sqlalchemy.exc" == found.chain[0].module
    assert found.chain[0].message.startswith("(psycopg2.OperationalError) refused\n\tIs the server")


@pytest.mark.parametrize(
    ("field", "expected", "said"),
    [
        ("name", "diffusers", "ModuleNotFoundError: No module named 'diffusers'"),
        ("path", "/x/db.py", "ImportError: cannot import name 'a' from 'db' (/x/db.py)"),
        ("errno", 98, "OSError: [Errno 98] Address already in use"),
        ("filename", "/x", "FileNotFoundError: [Errno 2] No such file or directory: '/x'"),
        ("name", "api", "AttributeError: module 'app' has no attribute 'api'"),
        ("name", "foo", "NameError: name 'foo' is not defined"),
    ],
)
def test_what_python_knows_is_read_from_the_words(field: str, expected: object, said: str) -> None:
    """The structure that the bootstrap reports is recovered from the message."""
    (found,) = tracebacks(
        lines(f'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n{said}')
    )
    assert expected == getattr(found.chain[0], field)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Traceback (most recent call last):",
        'Traceback (most recent call last):\n  File "a.py", line 1, in f',
        "INFO: ready\nname: value\nValueError",
        "  + Exception Group Traceback (most recent call last):",
        "During handling of the above exception, another exception occurred:",
    ],
)
def test_what_is_no_traceback_is_none(text: str) -> None:
    """Nothing is made up from a piece."""
    assert () == tracebacks(lines(text))


FRAME = '  File "a.py", line 1, in f\n    g()\n'


@pytest.mark.parametrize(
    "text",
    [
        "INFO:     GET / 200\n" * 100_000,
        FRAME * 50_000,
        "Traceback (most recent call last):\n" * 100_000,
        "  + Exception Group Traceback (most recent call last):\n" * 100_000,
        "  + Exception Group Traceback (most recent call last):\n" + "  | x\n" * 100_000,
        f"Traceback (most recent call last):\n{FRAME}ValueError: x\n" * 25_000,
        "x" * 10_000_000,
        f"Traceback (most recent call last):\n{FRAME}ValueError: {'x' * 10_000_000}",
        "~^" * 1_000_000,
    ],
    ids=[
        "records",
        "frames",
        "headers",
        "groups",
        "bars",
        "tracebacks",
        "one line",
        "one message",
        "markers",
    ],
)
def test_time_grows_with_the_lines_and_no_faster(text: str) -> None:
    """100,000 lines of whatever kind are read in seconds."""
    log = lines(text)
    began = time.monotonic()
    tracebacks(log)
    assert DEADLINE_S > time.monotonic() - began
