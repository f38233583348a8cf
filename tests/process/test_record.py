from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from masuka_magic.config.model import Health, StartConfig, Target
from masuka_magic.process import record as records
from masuka_magic.process.folder import RunFolder, new_run_folder
from masuka_magic.process.identity import ProcessIdentity, identify
from masuka_magic.process.record import MAX_BYTES, Record, fingerprint, proved, read_record, write_record

RECORD = Record(
    service="backend",
    run="/a/run",
    argv=("python", "--token", "hunter2"),
    cwd="/srv",
    host="127.0.0.1",
    port=8000,
    url="http://127.0.0.1:8000",
    process=ProcessIdentity(4242, 1, "boot"),
    kernel=ProcessIdentity(1, 2, "boot"),
    started_at="2026-08-12T10:00:00+00:00",
    config={"app": "app.main:app", "env": {"TOKEN": "$TOKEN"}},
    fingerprint="abc",
)
CONFIG = StartConfig(Target("app", "app.main:app"), cwd="/srv", python="/usr/bin/python3")


@pytest.fixture
def run() -> RunFolder:
    return new_run_folder("/srv", CONFIG.target, "backend")


def test_what_is_written_is_read_again(run: RunFolder) -> None:
    """Every field survives, the file is ours alone, and nothing else is left in the folder."""
    record = replace(RECORD, outcome={"state": "ready", "ready_s": 1.5})
    before = os.umask(0o077)
    try:
        write_record(run.path, RECORD, str)
        write_record(run.path, record, str)
    finally:
        os.umask(before)
    assert record == read_record(run.path).record
    assert 0o600 == run.record.stat().st_mode & 0o777
    assert {"record.json", "wake"} == {path.name for path in run.path.iterdir()}


def test_secrets_do_not_reach_the_disk(run: RunFolder) -> None:
    """Whatever may hold foreign text goes through the mask, to any depth."""
    record = replace(
        RECORD,
        url="http://hunter2@h",
        config=MappingProxyType({"env": {"A": ["hunter2"]}}),
        outcome={"text": "hunter2"},
    )
    write_record(run.path, record, lambda text: text.replace("hunter2", "***"))
    assert "hunter2" not in run.record.read_text("utf-8")
    read = read_record(run.path).record
    assert read is not None
    assert ("python", "--token", "***") == read.argv


def test_a_disk_that_takes_no_record_keeps_the_old_one(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the writing fails the older record is whole, and no part of the new one is left."""
    write_record(run.path, RECORD, str)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(run.path, replace(RECORD, service="other"), str)
    assert RECORD == read_record(run.path).record
    assert {"record.json", "wake"} == {path.name for path in run.path.iterdir()}


def refused(run: RunFolder) -> str:
    read = read_record(run.path)
    assert read.record is None
    assert read.refused is not None
    assert "\n" not in read.refused
    assert read.refused.startswith(str(run.path))
    return read.refused


def test_no_record_is_no_record(run: RunFolder) -> None:
    """A run that did not come as far as its record says so."""
    assert refused(run).endswith("record.json is not there")


def test_an_open_record_is_refused(run: RunFolder) -> None:
    """Others could have written it."""
    write_record(run.path, RECORD, str)
    run.record.chmod(0o644)
    assert refused(run).endswith("is open to other users (mode 0644)")


def test_an_open_folder_is_refused(run: RunFolder) -> None:
    """Others could have put the record there."""
    write_record(run.path, RECORD, str)
    run.path.chmod(0o707)
    assert "is open to other users (mode 0707): chmod 700 " in refused(run)


def test_a_foreign_record_is_refused(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user in our folder is not read."""
    write_record(run.path, RECORD, str)
    monkeypatch.setattr(records, "check_private", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: run.record.stat().st_uid + 1)
    assert "record.json belongs to user" in refused(run)


def test_a_link_and_a_fifo_are_refused(run: RunFolder, tmp_path: Path) -> None:
    """Neither is followed nor waited for."""
    write_record(run.path, RECORD, str)
    run.record.rename(tmp_path / "elsewhere.json")
    run.record.symlink_to(tmp_path / "elsewhere.json")
    assert "cannot be read: Too many levels of symbolic links" in refused(run)
    run.record.unlink()
    os.mkfifo(run.record, 0o600)
    assert refused(run).endswith("is no regular file")


def put(run: RunFolder, text: str) -> None:
    run.record.write_text(text, "utf-8")
    run.record.chmod(0o600)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "has version 2, not 1"),
        ({"version": True}, "has version True, not 1"),
        ({"version": None}, "has version None, not 1"),
        ({"port": "8000"}, "has no int at 'port'"),
        ({"port": True}, "has no int at 'port'"),
        ({"argv": "python"}, "has no list at 'argv'"),
        ({"argv": ["python", 1]}, "has no list of strings at 'argv'"),
        ({"config": []}, "has no dict at 'config'"),
        ({"outcome": "ready"}, "has no dict at 'outcome'"),
        ({"process": None}, "has no dict at 'process'"),
        ({"process": {"pid": 5.0, "start": 1, "boot_id": "b"}}, "has no int at 'pid'"),
        ({"process": {"pid": 5, "start": 1}}, "has no str at 'boot_id'"),
        ({"process": {"pid": -1, "start": 1, "boot_id": "b"}}, "has pid -1 at 'process'"),
        ({"process": {"pid": 0, "start": 1, "boot_id": "b"}}, "has pid 0 at 'process'"),
        ({"process": {"pid": 1, "start": 1, "boot_id": "b"}}, "has pid 1 at 'process'"),
        ({"process": {"pid": 2**40, "start": 1, "boot_id": "b"}}, "has pid 1099511627776 at 'process'"),
    ],
)
def test_wrong_types_are_refused(run: RunFolder, change: dict[str, object], reason: str) -> None:
    """A record with one wrong field is no record, and the field is named."""
    write_record(run.path, RECORD, str)
    put(run, json.dumps({**json.loads(run.record.read_text("utf-8")), **change}))
    assert refused(run).endswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "is not JSON"),
        ("[]", "holds no table"),
        (" " * (MAX_BYTES + 1), f"is too large ({MAX_BYTES + 1} bytes)"),
    ],
)
def test_what_is_no_record_at_all_is_refused(run: RunFolder, text: str, reason: str) -> None:
    """Broken, nested without end, or far too large."""
    put(run, text)
    assert refused(run).endswith(reason)


def test_proof_needs_identity_and_the_value(family) -> None:
    """The recorded process must be there with its start time, and carry the very run of the record."""
    here = family("ready()\nwait()\n")
    record = replace(RECORD, run=here.run, process=here.leader)
    assert proved(record, here.run)
    assert not proved(record, f"{here.run}2")
    assert not proved(replace(record, run=f"{here.run}2"), f"{here.run}2")
    assert not proved(replace(record, process=replace(here.leader, start=here.leader.start + 1)), here.run)
    bare = family("ready()\nwait()\n", carries=False)
    assert not proved(replace(record, process=bare.leader), here.run)
    ourselves = identify(os.getpid())
    assert ourselves is not None
    assert not proved(replace(record, process=ourselves), here.run)


def test_the_fingerprint_sees_what_is_started_and_nothing_else() -> None:
    """A filled-in value changes it; how the user wrote it, and what is masked, do not."""
    same = replace(CONFIG, raw={"app": "x"}, secrets=frozenset({"s"}), config_file="/srv/masuka.toml")
    base = fingerprint(CONFIG, "/a/run")
    assert base == fingerprint(same, "/a/run")
    changes = [
        replace(CONFIG, env={"TOKEN": "2"}),
        replace(CONFIG, port=None),
        replace(CONFIG, args=("--reload",)),
        replace(CONFIG, health=Health(json={"ok": True})),
        replace(CONFIG, target=Target("app", "app.main:other")),
    ]
    assert 6 == len({base, *(fingerprint(changed, "/a/run") for changed in changes)})
    assert base != fingerprint(CONFIG, "/another/run")
