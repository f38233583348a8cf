"""Reading what the bootstrap wrote: every byte of it may be foreign."""

from __future__ import annotations

import binascii
import json
import os
from pathlib import Path

import pytest

from masuka_magic.process.reports import (
    MAX_READ_BYTES,
    SLOT_BYTES,
    Crashed,
    Hello,
    ImportMissing,
    Progress,
    ReportReader,
    read_progress,
)

BASE = {"v": 1, "at": 1.5, "pid": 2, "ppid": 1}
MISSING = {**BASE, "kind": "import-missing", "module": "app"}
FRAME = {"file": "a.py", "line": 1, "function": "f", "source": "x"}
ERROR = {
    "type": "OSError",
    "module": "builtins",
    "message": "no",
    "notes": [],
    "name": None,
    "path": None,
    "syntax": None,
    "errno": 2,
    "filename": "/x",
    "link": None,
    "frames": [FRAME],
    "exceptions": [],
}
CRASHED = {**BASE, "kind": "crashed", "exception": {"chain": [ERROR]}}


def line(record: object) -> bytes:
    return json.dumps(record).encode() + b"\n"


def write(folder: Path, data: bytes) -> None:
    with (folder / "reports.jsonl").open("ab") as file:
        file.write(data)


def test_lines_are_read_once_and_only_when_complete(tmp_path):
    """A line without its end is read when the end has come; nothing is read twice."""
    reader = ReportReader(tmp_path)
    assert [] == reader.read_new()
    data = line(MISSING)
    write(tmp_path, data + data[:10])
    assert [ImportMissing(1.5, 2, 1, "app")] == reader.read_new()
    assert [] == reader.read_new()
    write(tmp_path, data[10:])
    assert [ImportMissing(1.5, 2, 1, "app")] == reader.read_new()
    assert 0 == reader.rejected


def without(record: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in record.items() if name != key}


def error(**fields: object) -> dict[str, object]:
    return {**CRASHED, "exception": {"chain": [{**ERROR, **fields}]}}


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"no json\n",
        b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n",
        b'{"v": 1, "at": ' + b"9" * 5000 + b"}\n",
        line([]),
        line({**MISSING, "v": 2}),
        line({**MISSING, "v": True}),
        line({**MISSING, "kind": "import-guessed"}),
        line({**MISSING, "kind": 5}),
        line({**MISSING, "module": None}),
        line({**MISSING, "pid": "2"}),
        line({**MISSING, "pid": 2.0}),
        line({**MISSING, "at": True}),
        line({**MISSING, "at": float("nan")}),
        line({**MISSING, "at": 10**400}),
        line(without(MISSING, "ppid")),
        line({**CRASHED, "exception": {"chain": []}}),
        line({**CRASHED, "exception": {"chain": "no"}}),
        line({**CRASHED, "exception": None}),
        line(error(link=[])),
        line(error(link="other")),
        line(error(frames=[{"file": "a.py", "line": "1", "function": "f", "source": ""}])),
        line(error(frames=[FRAME] * 101)),
        line(error(notes=[1])),
        line(error(exceptions=[{"chain": 1}])),
    ],
)
def test_foreign_lines_are_counted_and_skipped(data, tmp_path):
    """Whatever no bootstrap writes is passed over, and what comes after it is read."""
    reader = ReportReader(tmp_path)
    write(tmp_path, data + line(MISSING))
    assert [ImportMissing(1.5, 2, 1, "app")] == reader.read_new()
    assert 1 == reader.rejected


def test_line_without_an_end_holds_nothing_up(tmp_path):
    """Megabytes without a line's end are passed over once, and count as one line."""
    reader = ReportReader(tmp_path)
    write(tmp_path, b"x" * (2 * MAX_READ_BYTES + 5))
    for _ in range(3):
        assert [] == reader.read_new()
    write(tmp_path, b"\n" + line(MISSING))
    assert [ImportMissing(1.5, 2, 1, "app")] == reader.read_new()
    assert 1 == reader.rejected


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_only_a_regular_file_is_read(kind, tmp_path):
    """A link, a FIFO or a folder in the file's place is no report and blocks nothing."""
    path = tmp_path / "reports.jsonl"
    if kind == "link":
        (tmp_path / "other").write_bytes(line(MISSING))
        path.symlink_to(tmp_path / "other")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert [] == ReportReader(tmp_path).read_new()


def test_values_are_taken_over(tmp_path):
    """Each field arrives as it was written; a lone surrogate becomes text that can be shown."""
    reader = ReportReader(tmp_path)
    hello = {
        **BASE,
        "kind": "hello",
        "python": "3.8.1",
        "executable": "/p",
        "role": "main",
        "path0": "\ud800",
    }
    group = {**ERROR, "type": "ExceptionGroup", "exceptions": [{"chain": [ERROR]}, {"chain": []}]}
    write(
        tmp_path, line(hello) + line({**CRASHED, "exception": {"chain": [group, {**ERROR, "link": "cause"}]}})
    )
    first, second = reader.read_new()
    assert Hello(1.5, 2, 1, "3.8.1", "/p", "main", "\\ud800") == first
    assert isinstance(second, Crashed)
    assert [None, "cause"] == [report.link for report in second.chain]
    assert ["OSError"] == [report.type for (report,) in second.chain[0].exceptions]
    assert ("a.py", 1, "f", "x") == tuple(
        getattr(second.chain[1].frames[0], name) for name in ("file", "line", "function", "source")
    )


def slot(record: object) -> bytes:
    text = json.dumps(record).encode().ljust(SLOT_BYTES - 10)
    return b"%08x %s\n" % (binascii.crc32(text), text)


PROGRESS = {"at": 2.5, "now": "torch", "module": "torch.cuda", "modules": 7, "packages": [["torch", 1.25]]}


def test_progress_is_read(tmp_path):
    """A slot with a right check sum is what the process imports."""
    (tmp_path / "import-5.now").write_bytes(slot(PROGRESS))
    assert Progress(2.5, "torch", "torch.cuda", 7, (("torch", 1.25),)) == read_progress(tmp_path, 5)


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        slot(PROGRESS)[:-1],
        slot(PROGRESS).replace(b"torch.cuda", b"torch.fuda"),
        slot([]),
        slot({**PROGRESS, "modules": None}),
        slot({**PROGRESS, "packages": [["torch"]]}),
        slot({**PROGRESS, "packages": {"torch": 1}}),
        b"\xff" * SLOT_BYTES,
    ],
)
def test_torn_or_foreign_slot_is_none(data, tmp_path):
    """No slot, half a slot, one between two writes or one of other types says nothing."""
    if data is not None:
        (tmp_path / "import-5.now").write_bytes(data)
    assert read_progress(tmp_path, 5) is None
