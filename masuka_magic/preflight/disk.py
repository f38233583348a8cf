"""The file systems that the backend will write to: room in bytes and in files, and whether they can be written.

Several places on one file system are one entry. A quota cannot be seen from here and nothing is said of it.
Only `look` and what it calls touch a disk, in threads of their own: a network drive that has gone answers no
call, and there is no way to take the call back.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.preflight.items import Item
from masuka_magic.quantities import size

RUN_FOLDER, CWD, TEMPORARY, HUGGING_FACE = "run folder", "cwd", "temporary files", "Hugging Face cache"

#: Below this a model's shard, a wheel or a few uploads do not fit any more.
LOW_BYTES = 1_000_000_000
#: The run folder holds logs alone, and most starts write a few MB: the usual limit of 1 GB is for the long run.
RUN_FOLDER_LOW_BYTES = 200_000_000
#: The record, the reports and the first lines of the logs: without this much nothing could be said of the start.
RUN_FOLDER_LEAST_BYTES = 1_000_000
#: An installation or a cloned model repository brings thousands of files, a start some hundred (`*.pyc`).
LOW_INODES = 1_000
#: A file system is offered for a cache when it has room for several models.
ROOMY_BYTES = 10_000_000_000
#: A local disk answers in microseconds; a network drive that needs longer will also slow down the import.
ANSWER_S = 2.0

_HF_NAMES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
_HF_DISTRIBUTIONS = frozenset({"huggingface-hub", "transformers", "diffusers"})
_GONE = (errno.ENOTCONN, errno.ESTALE, errno.EIO, errno.EHOSTDOWN)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is used for something; it need not be there yet."""

    role: str
    path: str


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What one look shows. `free` is what an ordinary user may take, `most` what this one may: root also takes
    what the file system keeps in reserve. `inodes` None: they are not counted.
    """

    device: int
    mount: str
    total: int
    free: int
    most: int
    inodes: int | None
    read_only: bool
    places: tuple[Place, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(place.role for place in self.places)

    def path_of(self, *roles: str) -> str:
        """Return the path of the first of these roles, else the mount."""
        return next((place.path for role in roles for place in self.places if place.role == role), self.mount)


@dataclass(frozen=True, slots=True)
class Unseen:
    """A place that could not be looked at: the error, or None when there was no answer in time."""

    place: Place
    error: OSError | None


def places_of(
    cwd: str, run_folder: str, environ: Mapping[str, str], installed: Sequence[str] | frozenset[str]
) -> tuple[Place, ...]:
    """Name the folders that a backend with this environment will write to.

    `installed` are its distributions, normalized: without a library that uses the Hugging Face cache, or a
    variable that names it, that one is left out.
    """
    places = [
        Place(RUN_FOLDER, run_folder),
        Place(CWD, cwd),
        Place(TEMPORARY, environ.get("TMPDIR") or "/tmp"),  # noqa: S108 - what tempfile takes; nothing is written
    ]
    if any(environ.get(name) for name in _HF_NAMES) or not _HF_DISTRIBUTIONS.isdisjoint(installed):
        places.append(Place(HUGGING_FACE, str(Path(cwd, _hugging_face_cache(environ)))))
    return tuple(places)


def _hugging_face_cache(environ: Mapping[str, str]) -> str:
    """Find the cache as huggingface_hub/constants.py does."""
    home = environ.get("HOME") or str(Path.home())
    default = environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    own = environ.get("HF_HOME") or f"{default}/huggingface"
    path = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{own}/hub"
    return home + path[1:] if path.startswith("~/") else path


def look(places: Sequence[Place], limit_s: float = ANSWER_S) -> tuple[list[FileSystem], list[Unseen]]:
    """Look at all places at once, for at most so long; each file system once, in the order of the places."""
    answers: dict[Place, FileSystem | OSError] = {}
    threads = [
        threading.Thread(target=_answer, args=(place, answers), name="masuka-disk", daemon=True)
        for place in places
    ]
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    seen: dict[int, FileSystem] = {}
    unseen = []
    for place in places:
        answer = answers.get(place)
        if isinstance(answer, FileSystem):
            known = seen.get(answer.device)
            seen[answer.device] = answer if known is None else replace(known, places=(*known.places, place))
        else:
            unseen.append(Unseen(place, answer))
    return list(seen.values()), unseen


def _answer(place: Place, answers: dict[Place, FileSystem | OSError]) -> None:
    try:
        answers[place] = _look_at(place)
    except OSError as error:
        answers[place] = error


def _look_at(place: Place) -> FileSystem:
    """Look at the file system of a place, or of the nearest folder above it that is there."""
    folder = Path(os.path.normpath(place.path))
    while True:
        try:
            device = folder.stat().st_dev
            break
        except (FileNotFoundError, NotADirectoryError):
            if folder == folder.parent:
                raise
            folder = folder.parent
    found = os.statvfs(folder)
    mount = Path(os.path.realpath(folder))
    while mount != mount.parent and mount.parent.stat().st_dev == device:
        mount = mount.parent
    return FileSystem(
        device,
        str(mount),
        total=found.f_blocks * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        most=(found.f_bavail if os.geteuid() else found.f_bfree) * found.f_frsize,
        inodes=found.f_favail if found.f_files else None,  # btrfs and many FUSE systems count none
        read_only=bool(found.f_flag & os.ST_RDONLY),
        places=(place,),
    )


def judge_disks(disks: Sequence[FileSystem], max_log_bytes: int) -> list[Item]:
    """Judge each file system; only a run folder that can hold nothing fails."""
    return [_judge(disk, disks, max_log_bytes) for disk in disks]


def low_below(roles: Sequence[str], max_log_bytes: int) -> int:
    """Return the bytes below which a file system with these roles is called low.

    Two logs of at most `max_log_bytes` are all that a run folder will hold.
    """
    others = any(role != RUN_FOLDER for role in roles)
    return LOW_BYTES if others else min(RUN_FOLDER_LOW_BYTES, 2 * max_log_bytes)


def _judge(disk: FileSystem, disks: Sequence[FileSystem], max_log_bytes: int) -> Item:
    where = f"{disk.mount} ({', '.join(disk.roles)})"
    runs = RUN_FOLDER in disk.roles
    if disk.read_only:
        return _read_only(disk, where, runs=runs)
    if disk.total == 0:  # Some FUSE systems tell nothing.
        return Item("disk", "pass", f"{where} does not tell its room")
    room = f"{size(disk.free)} of {size(disk.total)}"
    if disk.inodes is not None and disk.inodes < LOW_INODES:
        title = f"only {disk.inodes} more files can be made on {where}"
        note = f"{room} are free, but every file needs an inode and those are used up"
        finding = _full(disk, disks, title, note, by_files=True)
        return Item("disk", "fail" if runs and disk.inodes == 0 else "warn", title, finding)
    if disk.free < low_below(disk.roles, max_log_bytes):
        title = f"only {room} are free on {where}"
        finding = _full(disk, disks, title)
        return Item("disk", "fail" if runs and disk.most < RUN_FOLDER_LEAST_BYTES else "warn", title, finding)
    return Item("disk", "pass", f"{room} free on {where}")


def _read_only(disk: FileSystem, where: str, *, runs: bool) -> Item:
    if disk.roles == (CWD,):
        # Code that is only read is a usual way to deploy it; a backend that writes there says so itself.
        return Item("disk", "pass", f"{where} is mounted read-only")
    title = f"{where} is mounted read-only"
    evidence = (EvidenceLine("machine", None, f"{disk.mount}: mounted read-only"),)
    finding = Finding("read-only", title, disk.mount, evidence)
    return Item("disk", "fail" if runs else "warn", title, finding)


def _full(
    disk: FileSystem, disks: Sequence[FileSystem], title: str, *notes: str, by_files: bool = False
) -> Finding:
    evidence = (EvidenceLine("machine", None, title),)
    remedies = [_list_largest(disk.path_of(HUGGING_FACE, TEMPORARY, CWD), by_files=by_files)]
    roomy = max(disks, key=lambda other: other.free)
    if HUGGING_FACE in disk.roles and roomy is not disk and roomy.free >= ROOMY_BYTES and not roomy.read_only:
        folder = f"{roomy.path_of(CWD, TEMPORARY)}/huggingface"
        remedies.append(
            Remedy(
                f"or keep the models where {size(roomy.free)} are free, in the cell",
                f"[env]\nHF_HOME = {json.dumps(folder)}",
                kind="cell",
                confidence=0.7,
            )
        )
    return Finding("disk-full", title, disk.mount, evidence, notes, tuple(remedies))


def _list_largest(path: str, *, by_files: bool) -> Remedy:
    if by_files and sys.platform == "linux":  # `--inodes` is GNU's own.
        command = f"du -x --inodes -d 2 {shlex.quote(path)} 2>/dev/null | sort -rn | head -15"
        return Remedy("see which folders hold the most files", command, safe=True, confidence=0.8)
    command = f"du -xh -d 2 {shlex.quote(path)} 2>/dev/null | sort -rh | head -15"
    return Remedy("see what takes the room", command, safe=True, confidence=0.8)


def judge_unseen(unseen: Unseen, *, colab: bool) -> Item:
    """Say why a place could not be looked at; a drive that has gone is a finding."""
    place, error = unseen.place, unseen.error
    where = f"{place.path} ({place.role})"
    if error is not None and error.errno not in _GONE:
        return Item("disk", "skip", f"{where} cannot be looked at: {error.strerror}")
    words = f"has not answered for {ANSWER_S:g} s" if error is None else f"has gone: {error.strerror}"
    title = f"the file system of {where} {words}"
    remedies: tuple[Remedy, ...] = ()
    if colab and place.path.startswith(("/content/drive", "/content/gdrive")):
        top = "/".join(place.path.split("/")[:3])
        command = f'from google.colab import drive; drive.mount("{top}", force_remount=True)'
        remedies = (Remedy("mount Google Drive again", command, kind="python"),)
    evidence = (EvidenceLine("machine", None, title),)
    return Item(
        "disk", "warn", title, Finding("drive-unmounted", title, place.path, evidence, remedies=remedies)
    )
