from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

import pytest

from masuka_magic.config.model import Target
from masuka_magic.process import folder as folders
from masuka_magic.process.folder import (
    FolderError,
    RunFolder,
    check_private,
    file_system,
    key_folders,
    key_name,
    list_runs,
    new_run_folder,
    prune,
    state_home,
)
from masuka_magic.process.identity import identify
from masuka_magic.process.record import Record, write_record

APP = Target("app", "app.main:app")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the temporary folder be one of this test's own."""
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(path))
    return path / f"masuka_magic-{os.geteuid()}"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/masuka_magic"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/masuka_magic"),
        ({"XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/masuka_magic"),
        ({"HOME": "/h"}, "/h/.local/state/masuka_magic"),
    ],
)
def test_where_the_runs_are_kept(environ: dict[str, str], expected: str) -> None:
    """XDG_STATE_HOME counts when it is absolute, else the home's .local/state."""
    assert Path(expected) == state_home(environ)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277, 0o777])
def test_everything_is_ours_alone_whatever_the_umask(umask: int, private_state: Path) -> None:
    """Folders are 0700 and the FIFO 0600, with a generous umask as with one that takes our own rights."""
    before = os.umask(umask)
    try:
        run = new_run_folder("/srv", APP, "backend")
    finally:
        os.umask(before)
    home = private_state / "masuka_magic"
    assert [0o700] * 3 == [mode(path) for path in (home, run.key_folder, run.path)]
    assert home == run.key_folder.parent
    assert 0o600 == mode(run.wake)
    assert stat.S_ISFIFO(run.wake.lstat().st_mode)
    assert run.note is None
    assert str(run.path) == run.run


def test_parents_that_are_missing_are_made_private(tmp_path: Path) -> None:
    """A home without .local gets one that is ours alone."""
    new_run_folder("/srv", APP, "backend", {"HOME": str(tmp_path / "home")})
    assert 0o700 == mode(tmp_path / "home" / ".local")


def test_names_say_service_and_time_and_cannot_be_guessed() -> None:
    """The run's name is its UTC time and 128 random bits; two runs never share one."""
    one, other = (new_run_folder("/srv", APP, "My Backend!") for _ in range(2))
    assert one.key_folder == other.key_folder
    assert re.fullmatch(r"my-backend-[0-9a-f]{16}", one.key_folder.name)
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{32}", one.path.name)
    assert one.path.name[-32:] != other.path.name[-32:]
    assert [other.path, one.path] == [run.path for run in list_runs(one.key_folder)]
    assert [one.key_folder] == key_folders()


def test_another_folder_target_or_name_is_another_backend() -> None:
    """The key differs as soon as one of the three does."""
    keys = {
        key_name("/srv", APP, "backend"),
        key_name("/srv2", APP, "backend"),
        key_name("/srv", Target("module", APP.value), "backend"),
        key_name("/srv", Target("app", "app.other:app"), "backend"),
        key_name("/srv", APP, "worker"),
        key_name("/srv", APP, "../../etc"),
    }
    assert len(keys) == 6
    assert all(folders._KEY_FORM.fullmatch(key) for key in keys)


def test_a_symbolic_link_is_refused_with_what_to_paste(private_state: Path, tmp_path: Path) -> None:
    """A link in the place of the home is not followed, and stays."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    home = private_state / "masuka_magic"
    home.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError) as refused:
        new_run_folder("/srv", APP, "backend")
    assert f"{home} is a symbolic link, not a folder: rm {home}" == str(refused.value)
    assert [] == list((tmp_path / "elsewhere").iterdir())
    assert [] == key_folders()


def test_a_link_in_the_place_of_the_key_is_refused(tmp_path: Path, private_state: Path) -> None:
    """Every level is looked at, not only the first."""
    run = new_run_folder("/srv", APP, "backend")
    run.key_folder.rename(tmp_path / "moved")
    run.key_folder.symlink_to(tmp_path / "moved")
    with pytest.raises(FolderError, match="is a symbolic link"):
        new_run_folder("/srv", APP, "backend")
    assert [] == list_runs(run.key_folder)


def test_an_open_folder_is_refused_with_what_to_paste(private_state: Path) -> None:
    """A folder that others may read or write is not used, and its mode is not changed behind the user's back."""
    home = private_state / "masuka_magic"
    home.mkdir()
    home.chmod(0o750)
    with pytest.raises(FolderError) as refused:
        new_run_folder("/srv", APP, "backend")
    assert f"{home} is open to other users (mode 0750): chmod 700 {home}" == str(refused.value)
    assert 0o750 == mode(home)


def test_a_file_in_the_way_is_refused(private_state: Path) -> None:
    """A file where the folder should be is named as such."""
    (private_state / "masuka_magic").write_text("")
    with pytest.raises(FolderError, match="is a file, not a folder: rm "):
        new_run_folder("/srv", APP, "backend")


def test_a_foreign_folder_is_refused(private_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of another user is not used, and nothing is proposed that would delete it."""
    home = private_state / "masuka_magic"
    home.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    with pytest.raises(FolderError, match=r"belongs to user \d+, not to \d+: %env XDG_STATE_HOME="):
        check_private(home)


def test_a_remote_home_is_replaced_and_said(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Google Drive's file system the run goes into a private folder below the temporary one, with a note."""
    home = state_home(os.environ)
    monkeypatch.setattr(folders, "_remote_kind", lambda path: "fuse.drive" if path == home else None)
    run = new_run_folder("/srv", APP, "backend")
    assert stand_in == run.key_folder.parent
    assert 0o700 == mode(stand_in)
    assert (
        f"{home} is on a fuse.drive file system: logs and records of this run are in {stand_in}" == run.note
    )
    assert [run.key_folder] == key_folders()


def test_a_home_that_cannot_be_written_is_replaced_and_said(stand_in: Path, tmp_path: Path) -> None:
    """Below a file no folder can be made, whoever we are: the temporary folder serves, with a note."""
    (tmp_path / "file").write_text("")
    run = new_run_folder("/srv", APP, "backend", {"XDG_STATE_HOME": str(tmp_path / "file" / "state")})
    assert stand_in == run.key_folder.parent
    assert run.note is not None
    assert "cannot be written (Not a directory)" in run.note


def test_the_stand_in_is_checked_as_well(stand_in: Path, tmp_path: Path) -> None:
    """Somebody may have made the folder with the name that can be foreseen: it is refused."""
    stand_in.mkdir()
    stand_in.chmod(0o777)
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=f"chmod 700 {stand_in}"):
        new_run_folder("/srv", APP, "backend", {"XDG_STATE_HOME": str(tmp_path / "file" / "state")})


MOUNTS = """\
22 1 0:21 / / rw - overlay overlay rw
23 22 0:22 / /content/drive rw shared:1 - fuse.drive drive rw
24 22 0:23 / /mnt/my\\040disk rw - nfs4 server:/disk rw
25 22 0:24 / /mnt/twice rw - ext4 /dev/vdb rw
26 22 0:25 / /mnt/twice rw - tmpfs tmpfs rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "overlay"),
        ("/content/drive", "fuse.drive"),
        ("/content/drive/MyDrive/x", "fuse.drive"),
        ("/content/drive2", "overlay"),
        ("/mnt/my disk/x", "nfs4"),
        ("/mnt/twice/x", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, expected: str) -> None:
    """The deepest mount above a path counts, of two on one point the later."""
    assert expected == file_system(path, MOUNTS)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "drvfs", "fuse.drive", "fuse.sshfs"])
def test_remote_kinds(kind: str) -> None:
    """Network and user-space file systems are no place for a FIFO."""
    assert folders._REMOTE.fullmatch(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "overlay", "tmpfs", "apfs", "zfs"])
def test_local_kinds(kind: str) -> None:
    """Local file systems are used as they are."""
    assert not folders._REMOTE.fullmatch(kind)


def recorded(run: RunFolder, pid: int) -> RunFolder:
    process = identify(pid)
    assert process is not None
    record = Record(
        "backend", run.run, ("x",), "/srv", "127.0.0.1", 8000, "u", process, process, "now", {}, ""
    )
    write_record(run.path, record, str)
    return run


def test_the_newest_ten_are_kept_and_whatever_lives(family) -> None:
    """Of 14 runs the oldest 4 would go; one has a living leader, another a process that still carries its run."""
    runs = [new_run_folder("/srv", APP, "backend") for _ in range(14)]
    key = runs[0].key_folder
    led, carried, dead, empty = runs[:4]
    recorded(led, family("ready()\nwait()\n", carries=False).leader.pid)
    family("ready()\nwait()\n", run=carried.run)
    ended = family("ready()\nwait()\n", carries=False)
    recorded(dead, ended.leader.pid)
    ended.stop()
    assert [empty.path, dead.path] == prune(key)
    assert [run.path for run in (*runs[:2], *runs[4:])] == [run.path for run in reversed(list_runs(key))]
    assert [] == prune(key)


def test_only_runs_are_pruned_and_no_link_is_followed(tmp_path: Path) -> None:
    """What is not exactly a run's folder stays, and so does what links inside one lead to."""
    runs = [new_run_folder("/srv", APP, "backend") for _ in range(2)]
    key = runs[0].key_folder
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (precious / "file").write_text("kept")
    (runs[0].path / "link").symlink_to(precious)
    (key / "notes").mkdir(mode=0o700)
    (key / "20200101T000000.000000Z-short").mkdir(mode=0o700)
    (key / f"20200101T000000.000000Z-{'0' * 32}").symlink_to(precious)
    (key / f"20200101T000000.000001Z-{'0' * 32}").mkdir()
    (key / f"20200101T000000.000001Z-{'0' * 32}").chmod(0o755)
    assert [runs[0].path] == prune(key, keep=1)
    assert "kept" == (precious / "file").read_text()
    assert 5 == len(list(key.iterdir()))
