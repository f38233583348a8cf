"""Look at the file of an SQLite database: its folder, its permissions, its first bytes. It is not opened.

A file that may only be read is a warning, as with PostgreSQL: tables that exist are not created again. One
that is not there yet is created by SQLite, which needs a folder that is there and may be written.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.diagnosis.postgres_words import visible
from masuka_magic.preflight.check import CheckLayer, CheckResult

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig
    from masuka_magic.preflight.check import Verdict

# https://www.sqlite.org/fileformat.html#the_database_header
_MAGIC = b"SQLite format 3\0"
_LFS_POINTER = b"version https://git-lfs"
_FOLDER, _FILE = "folder", "file"


class SqliteFile(NamedTuple):
    """The file that a URL names, as SQLite will open it; `path` is "" for a database in memory."""

    path: str
    read_only: bool = False
    encrypted: bool = False


def sqlite_file(url: str) -> SqliteFile:
    """Read the file from a URL, as SQLAlchemy's pysqlite dialect does (create_connect_args); others are near it.

    With `uri=true` the name is a URI of SQLite's own: `file:app.db?mode=ro`.
    """
    scheme, _, rest = url.strip().partition("://")
    path, _, query = rest.partition("?")
    if "@" in path.partition("/")[0]:  # SQLCipher's passphrase.
        path = path.partition("@")[2]
    # Three slashes before a relative path; other libraries (Tortoise, Prisma) take two.
    path = path.removeprefix("/")
    options = dict(parse_qsl(query))
    encrypted = "cipher" in scheme
    if path.startswith("file:"):
        name, _, own = path.removeprefix("file:").partition("?")
        options = {**options, **dict(parse_qsl(own))}
        path = unquote(name.removeprefix("//"))
        if options.get("mode") == "memory":
            path = ""
    read_only = options.get("mode") == "ro" or options.get("immutable") == "1"
    return SqliteFile("" if path == ":memory:" else path, read_only, encrypted)


def check_sqlite(url: str, config: StartConfig) -> CheckResult:
    """Look once; a relative path is one from the backend's folder."""
    file = sqlite_file(url)
    if not file.path:
        return CheckResult("pass", "SQLite in memory")
    path = Path(config.cwd, file.path)
    finding = _folder_finding(path, path.parent, read_only=file.read_only)
    if finding is not None:
        verdict: Verdict = "fail"
        text = finding.title
        if finding.code == "missing-path" and not file.read_only and _backend_makes_folders(config):
            verdict, text = "warn", f"{text}; the backend's sources make folders"
        layers = (CheckLayer(_FOLDER, verdict, text), CheckLayer(_FILE, "skip", "needs folder"))
        return CheckResult(verdict, text, finding, layers=layers)
    verdict, text, finding = _look_at_file(path, file)
    layers = (CheckLayer(_FOLDER, "pass", visible(str(path.parent))), CheckLayer(_FILE, verdict, text))
    return CheckResult(verdict, text if finding else f"SQLite, {text}", finding, layers=layers)


def _look_at_file(path: Path, file: SqliteFile) -> tuple[Verdict, str, Finding | None]:
    shown = visible(str(path))
    if not path.exists():
        return "pass", f"{shown} will be created", None
    finding = _file_finding(path, encrypted=file.encrypted)
    if finding is not None:
        return "fail", finding.title, finding
    if not file.read_only and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        finding = _read_only(path)
        return "warn", finding.title, finding
    return "pass", shown, None


def _folder_finding(path: Path, folder: Path, *, read_only: bool) -> Finding | None:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        title = f"the folder of the SQLite database {what}: {visible(str(folder))}"
        make = Remedy("make it", f"mkdir -p {shlex.quote(str(folder))}", safe=True)
        fixes = (make,) if not folder.exists() and str(folder).isprintable() else ()
        notes = ("SQLite creates the file, but not its folder",)
        if "~" in path.parts:
            notes = ("SQLite does not know ~, the home folder: write it out",)
            fixes = ()
        return Finding("missing-path", title, visible(str(folder)), notes=notes, remedies=fixes)
    missing = not path.exists()
    if missing and read_only:
        title = f"the SQLite database is opened for reading, and does not exist: {visible(str(path))}"
        return Finding("missing-path", title, visible(str(path)))
    if not os.access(folder, os.X_OK) or (missing and not os.access(folder, os.W_OK)):
        title = f"no permission to create the SQLite database {visible(path.name)} in {visible(str(folder))}"
        return _denied(title, folder)
    return None


def _file_finding(path: Path, *, encrypted: bool) -> Finding | None:
    shown = visible(str(path))
    begin = _first_bytes(path)
    if isinstance(begin, Finding):
        return begin
    if not begin:  # SQLite takes an empty file for an empty database, and has to write into it.
        title = f"no permission to write the SQLite database {shown}, which is empty"
        return None if os.access(path, os.W_OK) else _denied(title, path)
    if encrypted or begin.startswith(_MAGIC):
        return None
    if begin.startswith(_LFS_POINTER):
        fix = Remedy("fetch the file itself", "git lfs pull", safe=True)
        return _no_database(shown, "it is a pointer of Git LFS, the file itself was not fetched", fix)
    return _no_database(shown, "its first bytes are not those of SQLite 3")


def _first_bytes(path: Path) -> bytes | Finding:
    shown = visible(str(path))
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):  # A named pipe would wait for a writer when it is opened.
            return _no_database(shown, "it is a folder" if stat.S_ISDIR(kind) else "it is no regular file")
        with path.open("rb") as file:
            return file.read(len(_LFS_POINTER))
    except PermissionError:
        return _denied(f"no permission to read the SQLite database {shown}", path)
    except OSError as error:
        return _no_database(shown, error.strerror or str(error))


def _read_only(path: Path) -> Finding:
    if not os.access(path, os.W_OK):
        return _denied(f"no permission to write the SQLite database {visible(str(path))}", path)
    what = f"{visible(path.name)}: its folder {visible(str(path.parent))} may not be written"
    return _denied(f"no permission to write the SQLite database {what}", path.parent)


def _no_database(shown: str, why: str, *fixes: Remedy) -> Finding:
    title = f"{shown} is no SQLite database: {why}"
    return Finding("sqlite-not-a-database", title, shown, remedies=fixes)


def _denied(title: str, path: Path) -> Finding:
    fix = Remedy("give the permission", f"chmod u+rw {shlex.quote(str(path))}")
    try:
        own = path.stat().st_uid == os.geteuid()
    except OSError:
        own = False
    fixes = (fix,) if own and str(path).isprintable() else ()
    return Finding("permission", title, visible(str(path)), remedies=fixes)


def _backend_makes_folders(config: StartConfig) -> bool:
    """Whether the sources make folders: then one that is missing may be there in time."""
    from masuka_magic.preflight.backend_url import source_roots
    from masuka_magic.preflight.url_use import read_url_use

    use = read_url_use(source_roots(config))
    return use.makes_folders or not use.complete
