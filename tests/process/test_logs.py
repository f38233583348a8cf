from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from masuka_magic.process import logs
from masuka_magic.process.logs import LINE_BYTES, LogFile, Tail
from masuka_magic.process.logtext import cut, left_out, plain, plain_lines

MIB = 1024 * 1024


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "stderr.log")


# -- text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain\ttext é 日本", "plain\ttext é 日本"),
        ("\x1b[31mERROR\x1b[0m: no", "ERROR: no"),
        ("\x1b[1;38;5;200mx\x1b[m", "x"),
        ("\x1b[2J\x1b[H\x1b[?25lx", "x"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x1b]0;no end, the text stays", "0;no end, the text stays"),
        ("\x1b[12", "12"),
        ("\x1b", r"\x1b"),
        ("\x9b31mx", "x"),
        ("a\x07b\x08c\x7f", r"a\x07b\x08c\x7f"),
        ("a\x00b", r"a\x00b"),
        ("\x00" * 5000 + "after the hole", "after the hole"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("windows\r", "windows"),
        ("10%\r50%\r100%", "100%"),
        ("10%\r50%\r", "50%"),
        ("\r10%\x1b[K\r\x1b[K", "10%"),
        ("\r", ""),
    ],
)
def test_a_line_is_made_harmless(line: str, expected: str) -> None:
    """What a terminal would act on is dropped or spelt out, what it would show at last is shown."""
    assert expected == plain(line)
    assert [expected] == plain_lines(line.encode())


def test_lines_end_at_newlines_only() -> None:
    """No other character ends a line: numbers agree with an editor's and with grep's."""
    assert ["a\\x0bb", "c\\u2028d", ""] == plain_lines("a\x0bb\nc\u2028d\n".encode())


@pytest.mark.parametrize(
    "evil", ["\x1b]" * 50_000, "\x1b[" + "0" * 100_000, "\x9d" * 100_000, "\r" * 100_000]
)
def test_a_hostile_line_costs_linear_time(evil: str) -> None:
    """Escapes without an end do not make the cleaning quadratic."""
    began = time.perf_counter()
    plain(evil)
    assert time.perf_counter() - began < 2


def test_no_half_of_a_word_is_left_at_a_cut() -> None:
    """A secret that a cut falls into is dropped whole: its half would pass the mask."""
    line = "a " * 50 + "SECRETSECRET " + "b" * 10 + " x" * 200 + " SECRETSECRET" + " c" * 50
    for limit in range(200, 260):
        shown = cut(line, limit)
        assert len(shown) <= limit + 40
        assert "SECRET" not in shown.replace("SECRETSECRET", "")


# -- the end of a log ----------------------------------------------------------------------------------


def test_no_file_and_an_empty_one(log: LogFile) -> None:
    """Both have no lines, and neither is an error."""
    assert (Tail(), 0, "", ()) == (log.tail(), log.size, log.read(), log.grep("x").lines)
    log.path.touch()
    assert (Tail(), 0, "", ()) == (log.tail(), log.size, log.read(), log.grep("x").lines)


@pytest.mark.parametrize(
    ("text", "n", "lines", "before", "number"),
    [
        ("a\nb\nc\n", 2, ("b", "c"), 2, 2),
        ("a\nb\nc", 2, ("b", "c"), 2, 2),
        ("a\nb\nc\n", 3, ("a", "b", "c"), 0, 1),
        ("a\nb\nc\n", 9, ("a", "b", "c"), 0, 1),
        ("\n", 5, ("",), 0, 1),
        ("\n\n", 5, ("", ""), 0, 1),
        ("a\n\n", 1, ("",), 2, 2),
        ("a", 1, ("a",), 0, 1),
        ("a\r\nb\r\n", 1, ("b",), 3, 2),
    ],
)
def test_the_last_lines(
    log: LogFile, text: str, n: int, *, lines: tuple[str, ...], before: int, number: int
) -> None:
    """An end that is missing makes no difference; numbers count from 1."""
    log.path.write_bytes(text.encode())
    assert Tail(lines, len(text), before, number) == log.tail(n, numbered=True)


@pytest.mark.parametrize("n", [1, 7, 100, 3000, 100_000])
def test_a_tail_is_what_splitting_the_whole_gives(
    log: LogFile, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading backwards in blocks finds the same lines as reading everything."""
    monkeypatch.setattr(logs, "_BLOCK", 1000)
    text = [f"{number} {'é' * (number % 57)}" for number in range(3000)]
    log.path.write_text("\n".join(text) + "\n", "utf-8")
    tail = log.tail(n, numbered=True)
    assert tuple(text[-n:]) == tail.lines
    assert max(1, 3001 - n) == tail.first_line_number


def test_at_most_so_many_bytes_are_shown(log: LogFile) -> None:
    """Lines are dropped from the front when they would be too much together."""
    log.path.write_text("".join(f"{number:09}\n" for number in range(1000)))
    tail = log.tail(200, max_bytes=105, numbered=True)
    assert tuple(f"{number:09}" for number in range(990, 1000)) == tail.lines
    assert (9900, 991) == (tail.bytes_before, tail.first_line_number)


def test_a_line_of_ten_megabytes_is_shown_by_its_ends(log: LogFile) -> None:
    """Its middle is left out, it is said how much that is, and the lines around it are there."""
    log.path.write_bytes(b"first\nbegin " + b"x" * 10_000_000 + b" end\nlast\n")
    tail = log.tail(numbered=True)
    first, long, last = tail.lines
    assert ("first", "last", 1, False) == (first, last, tail.first_line_number, tail.starts_mid_line)
    assert long.startswith("begin ")
    assert long.endswith(" end")
    shown = long.split(" [… ")[0] + long.rsplit(" …] ", 1)[1]
    assert left_out(10_000_010 - len(shown)) in long
    assert len(long) < LINE_BYTES + 100


def test_a_log_that_is_one_endless_line(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no line begins within reach, its end is shown and said to be one."""
    monkeypatch.setattr(logs, "_SCAN_BYTES", MIB)
    log.path.write_bytes(b"x" * 3 * MIB + b" the end")
    tail = log.tail()
    assert (True, 2 * MIB + 8) == (tail.starts_mid_line, tail.bytes_before)
    assert tail.lines[0].startswith("[… its beginning is not shown …]")
    assert tail.lines[0].endswith(" the end")


def test_bytes_that_are_no_text_are_shown(log: LogFile) -> None:
    """Invalid UTF-8 is spelt out, raw or not."""
    log.path.write_bytes(b"caf\xe9 \xff\x9b31m\n")
    assert (r"caf\xe9 \xff\x9b31m",) == log.tail().lines == log.tail(raw=True).lines


def test_raw_text_keeps_its_escapes(log: LogFile) -> None:
    """Raw is as it was written."""
    log.path.write_bytes(b"\x1b[31mred\x1b[0m 1%\r2%\n")
    assert ("2%",) == log.tail().lines
    assert ("\x1b[31mred\x1b[0m 1%\r2%",) == log.tail(raw=True).lines
    assert "\x1b[31mred\x1b[0m 1%\r2%\n" == log.read(raw=True)


def punch(log: LogFile, upto: int) -> None:
    """Drop the beginning of a log as bounding it does; what is left begins in mid-line."""
    text = log.path.read_bytes()
    log.path.unlink()
    with log.path.open("wb") as file:
        file.seek(upto)
        file.write(text[upto:])


def test_dropped_lines_are_passed_over(log: LogFile) -> None:
    """Behind a hole the log begins with half a line, and nobody can number what follows."""
    log.path.write_text("".join(f"line {number:06}\n" for number in range(100_000)))
    size = log.size
    punch(log, 1_000_000)
    tail = log.tail(20_000, numbered=True)
    begin = 1_000_000 // 4096 * 4096
    assert size == tail.size
    assert (True, None) == (tail.starts_mid_line, tail.first_line_number)
    assert begin <= tail.bytes_before <= 1_000_000
    assert "line 099999" == tail.lines[-1]
    assert "\0" not in "".join(tail.lines)
    assert not log.read().startswith("line 000000")
    assert ((None, "line 099998"),) == log.grep("99998").lines
    assert False is log.tail(5).starts_mid_line


def test_a_log_that_shrank_is_read_anew(log: LogFile) -> None:
    """Truncated from outside: the numbers that were counted before do not count any more."""
    log.path.write_text("a\n" * 1000)
    assert 801 == log.tail(200, numbered=True).first_line_number
    log.path.write_text("b\nc\n")
    assert Tail(("b", "c"), 4, 0, 1) == log.tail(numbered=True)
    log.path.write_text("c\n" * 500)
    assert 301 == log.tail(200, numbered=True).first_line_number


def test_numbers_of_a_growing_log_are_counted_on(log: LogFile) -> None:
    """What was counted once is not read again, and the numbers stay right."""
    numbers = []
    for _ in range(5):
        append(log, b"".join(b"%d\n" % line for line in range(1000)))
        tail = log.tail(10, numbered=True)
        assert "990" == tail.lines[0]
        numbers.append(tail.first_line_number)
    assert [991, 1991, 2991, 3991, 4991] == numbers


def test_a_tail_of_a_gigabyte_takes_no_fifty_milliseconds(log: LogFile) -> None:
    """The time does not depend on the size: a gigabyte, real at its end, and 64 MB that are numbered."""
    line = b"2026-08-12 10:11:12,123 INFO request GET /health 200 in 1.2 ms id=%08d\n"
    block = b"".join(line % number for number in range(20_000))
    with log.path.open("wb") as file:
        file.write(block)
        file.seek(1_000_000_000 - len(block))
        file.write(block)
    assert 1_000_000_000 == log.size
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        tail = log.tail()
        seconds.append(time.perf_counter() - began)
    assert 200 == len(tail.lines)
    assert tail.lines[-1].endswith("id=00019999")
    assert statistics.median(seconds) < 0.05


def test_a_tail_while_the_file_grows(log: LogFile) -> None:
    """A reader beside a busy writer sees whole lines in order, but for the very last."""
    code = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)\n"
        "n = 0\n"
        "while True:\n"
        "    os.write(fd, b''.join(b'line %d\\n' % i for i in range(n, n + 100)))\n"
        "    n += 100\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(log.path)])
    try:
        seen = 0
        until = time.monotonic() + 60
        while seen < 20 and time.monotonic() < until:
            lines = log.tail(50).lines
            if len(lines) < 50:
                continue
            seen += 1
            numbers = [int(line.removeprefix("line ")) for line in lines[:-1]]
            assert list(range(numbers[0], numbers[0] + 49)) == numbers
        assert seen == 20
    finally:
        writer.kill()
        writer.wait()


# -- the whole of it -----------------------------------------------------------------------------------


def test_grep_counts_lines_as_they_are(log: LogFile) -> None:
    """Numbers count from 1, colours are not in the way, what is beyond the limit is counted."""
    log.path.write_bytes(b"\x1b[31mERROR\x1b[0m: one\nfine\nERROR: two\nERROR: three\r\n")
    found = log.grep("^ERROR: t", limit=1)
    assert (((3, "ERROR: two"),), 1) == (found.lines, found.more)
    assert [1, 3, 4] == [number for number, _ in log.grep("ERROR: ").lines]
    assert () == log.grep("four").lines


def test_grep_over_many_blocks(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that lie across blocks are found, with their numbers."""
    monkeypatch.setattr(logs, "_CHUNK", 100)
    log.path.write_text("".join(f"{number} {'x' * (number % 250)} end\n" for number in range(2000)))
    assert list(range(1, 2001)) == [number for number, _ in log.grep("end$").lines]
    assert ((1235, f"1234 {'x' * (1234 % 250)} end"),) == log.grep("^1234 ").lines


def test_what_stands_in_the_middle_of_ten_megabytes_is_found(log: LogFile) -> None:
    """A long line is searched whole and shown by its ends."""
    log.path.write_bytes(b"a\n" + b"x" * 5_000_000 + b" needle " + b"y" * 5_000_000 + b"\nb\n")
    ((number, line),) = log.grep("needle").lines
    assert 2 == number
    assert len(line) < LINE_BYTES + 100


def test_grep_holds_little_of_a_large_log(tmp_path: Path) -> None:
    """Searching 160 MB, most of it one line, takes no 120 MB of memory."""
    path = tmp_path / "stderr.log"
    with path.open("wb") as file:
        for _ in range(60):
            file.write((b"x" * 99 + b"\n") * 10_000)
        for _ in range(100):
            file.write(b"y" * 1_000_000)
        file.write(b"\nneedle\n")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from masuka_magic.process.logs import LogFile\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = LogFile(Path(sys.argv[1])).grep('needle').lines\n"
        "print(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.check_output([sys.executable, "-c", code, str(path)], env=environ, text=True)
    found, grown = out.rsplit(" ", 1)
    assert "((600002, 'needle'),)" == found
    assert int(grown) < 120_000  # kilobytes, getrusage(2)


@pytest.fixture
def followed(log: LogFile) -> Iterator[Callable[..., tuple[list[str], Callable[[], None]]]]:
    """Follow the log in a thread; returns the lines so far, and what ends it and waits."""
    ends: list[Callable[[], None]] = []

    def follow(start: int | None = None) -> tuple[list[str], Callable[[], None]]:
        lines: list[str] = []
        stop = threading.Event()

        def read() -> None:
            for line in log.follow(stop, start=start):
                lines.append(line)  # noqa: PERF402 - one by one, as they come

        thread = threading.Thread(target=read)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join(20)
            assert not thread.is_alive()

        ends.append(end)
        return lines, end

    yield follow
    for end in ends:
        end()


def append(log: LogFile, text: bytes) -> None:
    with log.path.open("ab") as file:
        file.write(text)


def test_following_shows_complete_lines_as_they_come(log: LogFile, followed, wait_until) -> None:
    """From nothing: a file that appears is followed, half a line waits for its other half."""
    lines, end = followed(start=0)
    append(log, b"one\ntw")
    wait_until(lambda: lines == ["one"])
    append(log, "o é".encode()[:-1])
    append(log, "é".encode()[-1:] + b"\n\x1b[31mthree\x1b[0m\nrest")
    wait_until(lambda: lines == ["one", "two é", "three"])
    end()
    assert ["one", "two é", "three", "rest"] == lines


def test_following_begins_with_what_is_new(log: LogFile, followed, wait_until) -> None:
    """Without an offset nothing old is shown; after a truncation everything is new."""
    append(log, b"old\n" * 10)
    lines, _ = followed(start=log.size)
    append(log, b"new\n")
    wait_until(lambda: lines == ["new"])
    log.path.write_bytes(b"again\n")
    wait_until(lambda: lines == ["new", "again"])


def test_following_a_tail_misses_nothing_and_repeats_nothing(log: LogFile) -> None:
    """The size that a tail saw is where following goes on."""
    append(log, b"one\n")
    tail = log.tail()
    append(log, b"two\n")
    stop = threading.Event()
    stop.set()
    assert ["two"] == list(log.follow(stop, start=tail.size))


def test_following_a_flood_of_one_line_stays_small(log: LogFile) -> None:
    """A line of 5 MB comes cut, with what is left out counted."""
    append(log, b"begin " + b"z" * 5_000_000 + b" end\n")
    stop = threading.Event()
    stop.set()
    (line,) = log.follow(stop, start=0)
    assert line.startswith("begin ")
    assert line.endswith(" end")
    assert len(line) < LINE_BYTES + 200


def test_a_copy_is_masked_complete_and_ours_alone(log: LogFile, tmp_path: Path) -> None:
    """Every line is there, cleaned and masked, in a file that others cannot read; an older one is replaced."""
    append(log, b"\x1b[31mone\x1b[0m secret\n" * 3 + b"last" + b"x" * 100_000)
    target = tmp_path / "copy.log"
    target.write_text("old")
    before = os.umask(0)
    try:
        written = log.save(target, mask=lambda line: line.replace("secret", "***"))
    finally:
        os.umask(before)
    assert "one ***\n" * 3 + "last" + "x" * 100_000 + "\n" == target.read_text("utf-8")
    assert (written, 0o600) == (target.stat().st_size, target.stat().st_mode & 0o777)
    assert {"copy.log", "stderr.log", "state"} == {path.name for path in tmp_path.iterdir()}


def test_a_raw_copy_is_the_very_bytes(log: LogFile, tmp_path: Path) -> None:
    """Nothing is cleaned or added."""
    text = b"\x1b[31m\xff\n" * 1000 + b"no end"
    append(log, text)
    assert len(text) == log.save(tmp_path / "copy.log", raw=True)
    assert text == (tmp_path / "copy.log").read_bytes()


def test_a_copy_that_fails_leaves_nothing(log: LogFile, tmp_path: Path) -> None:
    """When a line cannot be masked, neither the target nor a part of it is left."""
    append(log, b"one\n")

    def fail(_: str) -> str:
        raise RuntimeError("mask")

    with pytest.raises(RuntimeError, match="mask"):
        log.save(tmp_path / "copy.log", mask=fail)
    assert {"stderr.log", "state"} == {path.name for path in tmp_path.iterdir()}


def test_reading_from_an_offset(log: LogFile) -> None:
    """Bytes behind an offset come as they are, none when there are none."""
    assert b"" == log.read_from(0)
    append(log, b"0123456789")
    assert [b"456", b"89", b""] == [log.read_from(4, 3), log.read_from(8), log.read_from(99)]


def test_a_tail_without_numbers_does_not_read_what_lies_before(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start looks at its log four times a second: 60 MB of it are not read for the sake of the last lines."""
    log.path.write_bytes(b"x" * 99 + b"\n")
    with log.path.open("ab") as file:
        file.truncate(60_000_000)
        file.seek(0, 2)
        file.write(b"\nlast\n")
    read = []
    real = os.pread

    def counting(descriptor: int, size: int, offset: int) -> bytes:
        block = real(descriptor, size, offset)
        read.append(len(block))
        return block

    monkeypatch.setattr(os, "pread", counting)
    assert log.tail(1, max_bytes=4096).lines == ("last",)
    assert sum(read) < 2_000_000
