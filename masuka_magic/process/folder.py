"""The folders of the runs: where they lie, that they are ours alone, and which of them may go.

STATE/masuka_magic/<name>-<hash of folder, target and name>/<time>-<random>/ holds one run. Everything is a
real directory of ours with mode 0700; whatever is not, is refused and left as it is.
This room knows no process but by the question whether a run still lives, and nothing of what the files say.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shlex
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masuka_magic.config.model import Target

RECORD = "record.json"
STDOUT = "stdout.log"
STDERR = "stderr.log"
REPORTS = "reports.jsonl"
WAKE = "wake"
STACKS = "stacks.log"

KEEP_RUNS = 10

_PACKAGE = "masuka_magic"
_KEY_FORM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?-[0-9a-f]{16}")
_RUN_FORM = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{32}")
# Systems whose files live elsewhere or behind a user's program: no FIFO, no reliable rename or append, slow.
_REMOTE = re.compile(
    r"(?:nfs\d?|cifs|smb\w*|9p|drvfs|v9fs|fuse|fuseblk|fuse\..+|afs|ceph|glusterfs|lustre|beegfs|gpfs|vboxsf|"
    r"virtiofs|prl_fs|davfs\d?)"
)


class FolderError(Exception):
    """A folder that cannot be trusted: one line with the reason and what to paste."""

    def __init__(self, path: Path, reason: str, command: str) -> None:
        """Name the folder, what is wrong with it, and the line that puts it right."""
        super().__init__(f"{path} {reason}: {command}")
        self.path, self.reason, self.command = path, reason, command


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. `run` is the value of MASUKA_RUN: the path, whose random part proves the run.

    `note` says, in one line, why the folder lies in the temporary folder, if it does.
    """

    path: Path
    note: str | None = None

    @property
    def run(self) -> str:
        return str(self.path)

    @property
    def key_folder(self) -> Path:
        return self.path.parent

    @property
    def record(self) -> Path:
        return self.path / RECORD

    @property
    def stdout(self) -> Path:
        return self.path / STDOUT

    @property
    def stderr(self) -> Path:
        return self.path / STDERR

    @property
    def reports(self) -> Path:
        return self.path / REPORTS

    @property
    def wake(self) -> Path:
        return self.path / WAKE

    @property
    def stacks(self) -> Path:
        return self.path / STACKS


def state_home(environ: Mapping[str, str]) -> Path:
    """Return the folder of all runs, whether it is there or not. A relative XDG_STATE_HOME does not count.

    That is the XDG Base Directory specification's word on relative paths.
    """
    named = Path(environ.get("XDG_STATE_HOME", ""))
    if not named.is_absolute():
        named = Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return named / _PACKAGE


def temporary_home() -> Path:
    """Return the folder that stands in where the state home is remote or cannot be written."""
    return Path(tempfile.gettempdir()) / f"{_PACKAGE}-{os.geteuid()}"


def key_name(cwd: str, target: Target, name: str) -> str:
    """Name the folder of one backend's runs: the same folder, target and name give the same key."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:32].strip("-") or "backend"
    identity = f"{cwd}\0{target.kind}\0{target.value}\0{name}"
    return f"{slug}-{hashlib.sha256(identity.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def new_run_folder(
    cwd: str, target: Target, name: str, environ: Mapping[str, str] | None = None
) -> RunFolder:
    """Make the folder of a new run, with the FIFO in it, all for us alone whatever the umask is.

    Raises FolderError for a folder that is not ours alone, OSError where not even the temporary folder can be
    written.
    """
    home = state_home(os.environ if environ is None else environ)
    key = key_name(cwd, target, name)
    stand_in = temporary_home()
    kind = _remote_kind(home)
    if kind is None or _remote_kind(stand_in) is not None:
        try:
            return RunFolder(_make_run(home, key))
        except OSError as error:
            reason = f"{home} cannot be written ({error.strerror})"
    else:
        reason = f"{home} is on a {kind} file system"
    return RunFolder(_make_run(stand_in, key), f"{reason}: logs and records of this run are in {stand_in}")


def _make_run(home: Path, key: str) -> Path:
    for parent in reversed(home.parents):
        if not parent.exists():
            _make_private(parent)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = home / key / f"{moment}-{secrets.token_hex(16)}"
    for level in (home, home / key, path):
        _make_private(level)
        check_private(level)
    wake = path / WAKE
    os.mkfifo(wake, 0o600)
    wake.chmod(0o600)
    return path


def _make_private(path: Path) -> None:
    try:
        path.mkdir(0o700)
    except FileExistsError:
        return  # Whether it may be used is for check_private to say.
    path.chmod(0o700)  # The umask may have taken our own bits; it can never have added any.


def check_private(path: Path) -> None:
    """Raise FolderError unless this is a real directory, ours, and closed to everybody else.

    Raises OSError where it cannot be looked at.
    """
    facts = path.lstat()
    quoted = shlex.quote(str(path))
    if stat.S_ISLNK(facts.st_mode):
        raise FolderError(path, "is a symbolic link, not a folder", f"rm {quoted}")
    if not stat.S_ISDIR(facts.st_mode):
        raise FolderError(path, "is a file, not a folder", f"rm {quoted}")
    if facts.st_uid != os.geteuid():
        elsewhere = "%env XDG_STATE_HOME=/a/folder/of/your/own"
        raise FolderError(path, f"belongs to user {facts.st_uid}, not to {os.geteuid()}", elsewhere)
    if stat.S_IMODE(facts.st_mode) & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise FolderError(path, f"is open to other users (mode {mode:04o})", f"chmod 700 {quoted}")


def _remote_kind(path: Path) -> str | None:
    """Name the remote file system that a path would lie on; None for a local or an unknown one."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    kind = file_system(os.path.realpath(path), mounts)
    return kind if kind is not None and _REMOTE.fullmatch(kind) else None


def file_system(path: str, mountinfo: str) -> str | None:
    """Find the type of the file system that an absolute path lies on, in the text of /proc/self/mountinfo.

    Of several mounts on one point the last one counts (proc_pid_mountinfo(5)).
    """
    best, kind = -1, None
    for line in mountinfo.splitlines():
        fields, separator, rest = line.partition(" - ")
        columns = fields.split(" ")
        if not separator or len(columns) < 5:  # noqa: PLR2004 - the mount point is the fifth
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), columns[4]).rstrip("/")
        if (path == point or path.startswith(point + "/")) and len(point) >= best:
            best, kind = len(point), rest.split(" ", 1)[0]
    return kind


def key_folders(environ: Mapping[str, str] | None = None) -> list[Path]:
    """List the folders of all backends, in the state home and the temporary one; not foreign ones."""
    homes = (state_home(os.environ if environ is None else environ), temporary_home())
    return [key for home in homes if _is_ours(home) for key in _entries(home, _KEY_FORM)]


def list_runs(key_folder: Path) -> list[RunFolder]:
    """List a backend's runs, the newest first. What does not have the exact form of a run is not one."""
    if not _is_ours(key_folder):
        return []
    return [RunFolder(path) for path in reversed(_entries(key_folder, _RUN_FORM))]


def _entries(folder: Path, form: re.Pattern[str]) -> list[Path]:
    names = sorted(entry.name for entry in folder.iterdir() if form.fullmatch(entry.name))
    return [folder / name for name in names if _is_ours(folder / name)]


def _is_ours(path: Path) -> bool:
    try:
        check_private(path)
    except (FolderError, OSError):
        return False
    return True


def prune(key_folder: Path, keep: int = KEEP_RUNS) -> list[Path]:
    """Delete all runs but the newest `keep` and those with a living process; return what was deleted.

    No symbolic link is followed, outside or inside. A folder that cannot be deleted stays, for the next time.
    """
    old = list_runs(key_folder)[keep:]
    if not old:
        return []
    from masuka_magic.process.identity import is_alive
    from masuka_magic.process.record import read_record
    from masuka_magic.process.tree import live_runs

    carried = live_runs()
    gone = []
    for run in old:
        record = read_record(run.path).record
        # Identity alone is enough to keep it: a process may have written its title over its environment.
        if run.run in carried or (record is not None and is_alive(record.process)):
            continue
        shutil.rmtree(run.path, ignore_errors=True)
        if not run.path.exists():
            gone.append(run.path)
    return gone
