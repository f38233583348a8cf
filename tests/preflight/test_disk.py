from __future__ import annotations

import errno
import os
import subprocess
import threading
from pathlib import Path

import pytest

from masuka_magic.preflight import disk
from masuka_magic.preflight.disk import FileSystem, Place, Unseen, judge_disks, judge_unseen, look, places_of

GB = 1_000_000_000


def system(*roles: str, **given) -> FileSystem:
    """Make a healthy file system with these roles; `given` is what is not healthy about it."""
    places = tuple(Place(role, f"/data/{role.replace(' ', '-')}") for role in roles)
    values = {"device": 1, "mount": "/data", "total": 100 * GB, "free": 41 * GB, "inodes": 10_000_000}
    given.setdefault("most", given.get("free", 41 * GB))
    return FileSystem(**{**values, "read_only": False, "places": places, **given})


def judge(one: FileSystem, *others: FileSystem, max_log_bytes: int = GB):
    return judge_disks([one, *others], max_log_bytes)[0]


def test_a_healthy_disk_says_its_room_and_its_use() -> None:
    """One line names the room, the mount and what lies on it."""
    item = judge(system(disk.RUN_FOLDER, disk.CWD))

    assert ("pass", "41 GB of 100 GB free on /data (run folder, cwd)") == (item.verdict, item.text)


def test_little_room_is_a_warning_with_the_command_that_finds_what_takes_it() -> None:
    """Below 1 GB the finding is disk-full, and its command can be pasted, whatever the path."""
    places = (Place(disk.CWD, "/data/my backend"),)

    item = judge(system(free=300_000_000, places=places))

    assert ("warn", "only 300 MB of 100 GB are free on /data (cwd)") == (item.verdict, item.text)
    assert item.finding is not None
    assert ("disk-full", "/data") == (item.finding.code, item.finding.culprit)
    assert ["du -xh -d 2 '/data/my backend' 2>/dev/null | sort -rh | head -15"] == [
        remedy.command for remedy in item.finding.remedies
    ]


@pytest.mark.parametrize(
    ("free", "max_log_bytes", "expected"),
    [
        (250_000_000, GB, "pass"),
        (150_000_000, GB, "warn"),
        # Two logs of 10 MB at most are all that will be written.
        (150_000_000, 10_000_000, "pass"),
        (1_500_000, 10_000_000, "warn"),
        (900_000, 10_000_000, "fail"),
        (0, GB, "fail"),
    ],
)
def test_the_run_folder_alone(free, max_log_bytes, expected) -> None:
    """It needs what its logs may take, at most 200 MB; without 1 MB no start could be told of."""
    assert expected == judge(system(disk.RUN_FOLDER, free=free), max_log_bytes=max_log_bytes).verdict


def test_a_full_disk_that_holds_no_run_folder_does_not_prevent_a_start() -> None:
    """Whether the backend needs room there, it knows itself."""
    assert "warn" == judge(system(disk.CWD, disk.TEMPORARY, free=0)).verdict


def test_what_is_kept_in_reserve_for_root() -> None:
    """Of ext4 5 % are for root alone: as root, on Colab say, such a disk is short and not full."""
    assert "warn" == judge(system(disk.RUN_FOLDER, free=0, most=5 * GB)).verdict
    assert "fail" == judge(system(disk.RUN_FOLDER, free=0, most=0)).verdict


def test_files_can_run_out_before_bytes() -> None:
    """The finding says that it is inodes, and lists folders by the number of their files."""
    item = judge(system(disk.TEMPORARY, inodes=12))

    assert "only 12 more files can be made on /data (temporary files)" == item.text
    assert item.finding is not None
    assert ("41 GB of 100 GB are free, but every file needs an inode and those are used up",) == (
        item.finding.notes
    )
    assert "--inodes" in str(item.finding.remedies[0].command)
    assert ["fail", "warn"] == [
        judge(system(role, inodes=0)).verdict for role in (disk.RUN_FOLDER, disk.TEMPORARY)
    ]


def test_a_file_system_that_counts_no_inodes_or_tells_no_room_is_no_worry() -> None:
    """FUSE systems and btrfs say nothing where others say how much is left."""
    assert "pass" == judge(system(disk.CWD, inodes=None)).verdict
    silent = judge(system(disk.CWD, inodes=None, total=0, free=0))
    assert ("pass", "/data (cwd) does not tell its room") == (silent.verdict, silent.text)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ((disk.CWD,), "pass"),
        ((disk.TEMPORARY,), "warn"),
        ((disk.HUGGING_FACE, disk.CWD), "warn"),
        ((disk.RUN_FOLDER,), "fail"),
    ],
)
def test_read_only(roles, expected) -> None:
    """Code may lie on a read-only mount; temporary files, a cache and a run folder may not."""
    item = judge(system(*roles, read_only=True))

    assert expected == item.verdict
    assert item.text.endswith("is mounted read-only")
    assert ("read-only" if expected != "pass" else None) == (item.finding and item.finding.code)


def test_a_cache_without_room_is_offered_another_disk() -> None:
    """The models may move to the roomiest file system that is looked at anyway; the lines fit the cell."""
    cache = system(disk.HUGGING_FACE, free=500_000_000)
    other = system(disk.CWD, device=2, mount="/content", free=60 * GB)

    finding = judge(cache, other).finding

    assert finding is not None
    assert [
        "du -xh -d 2 /data/Hugging-Face-cache 2>/dev/null | sort -rh | head -15",
        '[env]\nHF_HOME = "/data/cwd/huggingface"',
    ] == [remedy.command for remedy in finding.remedies]


def test_which_places_are_looked_at() -> None:
    """The cache counts only where a library that uses it is installed, or a variable names it."""
    paths = [
        (place.role, place.path) for place in places_of("/srv", "/run", {"HOME": "/home/me"}, ("torch",))
    ]
    assert [("run folder", "/run"), ("cwd", "/srv"), ("temporary files", "/tmp")] == paths


@pytest.mark.parametrize(
    ("environ", "installed", "expected"),
    [
        ({}, ["diffusers"], "/home/me/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/cache"}, ["huggingface-hub"], "/cache/huggingface/hub"),
        ({"HF_HOME": "/hf"}, [], "/hf/hub"),
        ({"HF_HOME": "~/hf"}, [], "/home/me/hf/hub"),
        ({"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"}, [], "/old"),
        ({"HF_HUB_CACHE": "/new", "HUGGINGFACE_HUB_CACHE": "/old"}, [], "/new"),
        ({"HF_HOME": "models"}, [], "/srv/models/hub"),
        ({"XDG_CACHE_HOME": "/cache"}, [], None),
        ({"HF_HOME": ""}, [], None),
    ],
)
def test_where_the_hugging_face_cache_is(environ, installed, expected) -> None:
    """The variables count in the order of huggingface_hub's constants.py; a relative path starts at cwd."""
    places = places_of("/srv", "/run", {"HOME": "/home/me", "TMPDIR": "/var/tmp", **environ}, installed)

    assert expected == next((place.path for place in places if place.role == disk.HUGGING_FACE), None)
    assert "/var/tmp" in [place.path for place in places]


def test_places_on_one_disk_are_one_entry(tmp_path) -> None:
    """A folder that is not there yet is looked at where it would be made."""
    (tmp_path / "cwd").mkdir()
    places = [
        Place(disk.CWD, str(tmp_path / "cwd")),
        Place(disk.HUGGING_FACE, str(tmp_path / "not/there/yet")),
    ]

    disks, unseen = look(places)

    assert [] == unseen
    assert [("cwd", "Hugging Face cache")] == [one.roles for one in disks]
    assert disks[0].device == tmp_path.stat().st_dev
    assert os.path.ismount(disks[0].mount)
    assert 0 < disks[0].free <= disks[0].total


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="needs a second file system")
def test_places_on_two_disks_are_two_entries(tmp_path) -> None:
    """Each file system has its own entry, with its mount."""
    disks, _ = look([Place(disk.CWD, str(tmp_path)), Place(disk.TEMPORARY, "/dev/shm/none")])

    assert "/dev/shm" == disks[1].mount
    assert [("cwd",), ("temporary files",)] == [one.roles for one in disks]


def test_a_disk_that_is_really_full(tmp_path) -> None:
    """A real file system of half a megabyte cannot take a run folder."""
    script = 'mount -t tmpfs -o size=512k none "$0" && echo mounted && exec sleep 120'
    try:
        holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        pytest.skip("needs unshare")
    with holder:
        assert holder.stdout is not None
        try:
            if holder.stdout.readline() != b"mounted\n":
                pytest.skip("needs the right to mount")
            disks, unseen = look([Place(disk.RUN_FOLDER, f"/proc/{holder.pid}/root{tmp_path}")])
        finally:
            holder.kill()

    assert [] == unseen
    item = judge_disks(disks, GB)[0]
    assert "fail" == item.verdict
    assert item.text.startswith("only 524 kB of 524 kB are free on ")


def test_a_drive_that_does_not_answer_holds_nobody_up(monkeypatch) -> None:
    """The others are judged; that one is a warning after the limit."""
    released = threading.Event()
    look_at = disk._look_at

    def stuck(place: Place) -> FileSystem:
        if place.role == disk.CWD:
            released.wait(60)
        return look_at(place)

    monkeypatch.setattr(disk, "_look_at", stuck)
    try:
        disks, unseen = look([Place(disk.CWD, "/mnt/gone"), Place(disk.TEMPORARY, "/tmp")], limit_s=0.3)
    finally:
        released.set()

    assert [("temporary files",)] == [one.roles for one in disks]
    assert [Unseen(Place(disk.CWD, "/mnt/gone"), None)] == unseen
    item = judge_unseen(unseen[0], colab=False)
    assert ("warn", "the file system of /mnt/gone (cwd) has not answered for 2 s") == (
        item.verdict,
        item.text,
    )


def test_google_drive_that_has_gone() -> None:
    """On Colab the FUSE process behind /content/drive may die; mounting it again is one line."""
    error = OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
    unseen = Unseen(Place(disk.CWD, "/content/drive/MyDrive/shop"), error)

    item = judge_unseen(unseen, colab=True)

    assert item.finding is not None
    assert ("warn", "drive-unmounted") == (item.verdict, item.finding.code)
    assert ['from google.colab import drive; drive.mount("/content/drive", force_remount=True)'] == [
        remedy.command for remedy in item.finding.remedies
    ]


def test_a_folder_that_is_not_for_us_is_not_judged() -> None:
    """What may not be looked at is no fault; it is said."""
    error = OSError(errno.EACCES, os.strerror(errno.EACCES))

    item = judge_unseen(Unseen(Place(disk.TEMPORARY, "/root/tmp"), error), colab=False)

    assert ("skip", "/root/tmp (temporary files) cannot be looked at: Permission denied") == (
        item.verdict,
        item.text,
    )
