"""What the backend's Python is and what is installed for it, read from its folders.

An interpreter is started only where its layout does not tell, or to confirm what only it can know; this
takes 10 to 50 ms where reading takes two. Nothing of the user's is imported. Answers are kept for the life of
this process, by the times of the folders they were read from: an installation in between is seen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ASK_TIMEOUT_S = 5.0

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
_NAME = re.compile(r"python(\d+\.\d+)$")
_DESCRIBE = """
import json, platform, site, sys
print(json.dumps([platform.python_version(), site.getsitepackages(), site.getusersitepackages(), site.__file__]))
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an interpreter looks. `sites` are its site folders, nearest first, without what `.pth` files add.

    `version` is X.Y.Z, X.Y where the rest cannot be read, None where the interpreter did not answer.
    """

    version: str | None
    sites: tuple[Path, ...] = ()
    library: Path | None = None


def site_packages(python: str) -> tuple[Path, ...]:
    """Return the folders of installed packages, nearest first: site folders and what their `.pth` files add."""
    return _installed(python).folders


def distributions(python: str) -> Mapping[str, str]:
    """Return what is installed: normalized name (PEP 503) and version, "" where the file's name has none."""
    return _installed(python).distributions


def modules(python: str) -> Mapping[str, Path]:
    """Return the top-level modules that are installed, and where: also those of editable installs."""
    return _installed(python).modules


def has_unread_hooks(python: str) -> bool:
    """Say whether a `.pth` file runs code that is not known here: modules may come from anywhere then."""
    return _installed(python).unread_hooks


def version(python: str) -> str | None:
    """Return X.Y.Z; None where the interpreter does not say."""
    found = layout(python)
    if found.version is not None and found.version.count(".") > 1:
        return found.version
    return _described(python, _stamp(Path(python))).version or found.version


def normalized(name: str) -> str:
    """Spell a distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def layout(python: str) -> Layout:
    """Find the interpreter's folders: by pyvenv.cfg, by this process if it is its own, by its place, or by asking."""
    path = Path(os.path.normpath(python))
    config = next(
        (at for at in (path.parent / "pyvenv.cfg", path.parents[1] / "pyvenv.cfg") if at.is_file()), None
    )
    return _layout(str(path), config, _stamp(path), None if config is None else _stamp(config))


@lru_cache(maxsize=32)
def _layout(python: str, config: Path | None, _python_stamp: int, _config_stamp: int | None) -> Layout:
    path = Path(python)
    found = None if config is None else _of_environment(config, path)
    if found is None and python == os.path.normpath(sys.executable):
        found = _of_this_process()
    return found or _by_place(path) or _described(python, _python_stamp)


def _of_environment(config: Path, python: Path) -> Layout | None:
    """Read a virtual environment (PEP 405; virtualenv and uv write `version_info`)."""
    lines = config.read_text("utf-8", "replace").splitlines()
    values = {key.strip().lower(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    said = _VERSION.match(values.get("version", "")) or _VERSION.match(values.get("version_info", ""))
    if said is None:
        return None
    short = ".".join(said[0].split(".")[:2])
    sites = [config.parent / lib / f"python{short}" / "site-packages" for lib in ("lib", "lib64")]
    home = Path(values.get("home", "/nowhere"))
    base = next(
        (home / name for name in (f"python{short}", "python3", "python") if (home / name).exists()), None
    )
    below = None if base is None else _by_place(base)
    if values.get("include-system-site-packages", "").lower() == "true":
        below = below or (None if base is None else _described(str(base), _stamp(base)))
        sites += [] if below is None else [*_user_site(short), *below.sites]
    library = below.library if below is not None else home.parent / "lib" / f"python{short}"
    this = python == Path(os.path.normpath(sys.executable))
    return Layout(_own_version() if this else said[0], _there(sites), library)


def _of_this_process() -> Layout:
    import site
    import sysconfig

    places = sysconfig.get_paths()
    sites = [Path(folder) for folder in (*site.getsitepackages(), places["purelib"], places["platlib"])]
    user = [Path(site.getusersitepackages())] if site.ENABLE_USER_SITE else []
    return Layout(_own_version(), _there([*user, *sites]), Path(places["stdlib"]))


def _by_place(python: Path) -> Layout | None:
    """Read an installation's layout: PREFIX/bin/python3.11 beside PREFIX/lib/python3.11; None for any other."""
    try:
        real = python.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    named = _NAME.search(real.name)
    if named is None or sys.platform != "linux":
        return None
    short, prefix = named[1], real.parent.parent
    library = prefix / "lib" / f"python{short}"
    if not (library / "os.py").is_file():
        return None
    sites = [prefix / lib / f"python{short}" / "site-packages" for lib in ("lib", "lib64")]
    if prefix == Path("/usr"):
        local = Path("/usr/local/lib")
        debian = [prefix / "lib" / "python3" / "dist-packages", library / "dist-packages"]
        if debian[0].is_dir():  # Colab too; the order is that of Debian's site.py.
            sites = [local / f"python{short}" / "dist-packages", *debian]
        else:  # Fedora: pip's own beside rpm's.
            sites = [local / f"python{short}" / "site-packages", *sites]
    same = real == Path(os.path.realpath(sys.executable))
    return Layout(_own_version() if same else short, _there([*_user_site(short), *sites]), library)


def _user_site(short: str) -> list[Path]:
    if os.environ.get("PYTHONNOUSERSITE"):
        return []
    base = os.environ.get("PYTHONUSERBASE") or "~/.local"
    return [Path(base).expanduser() / "lib" / f"python{short}" / "site-packages"]


def _there(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Keep the folders that are there, each once, whatever links lead to it."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            found.setdefault(os.path.realpath(folder), folder)
    return tuple(found.values())


def _own_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _stamp(path: Path) -> int:
    """Return what changes when a file or the listing of a folder changes; 0 for one that is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=32)
def _described(python: str, _python_stamp: int) -> Layout:
    # Isolated and without site: it reads its own layout and runs nobody's `.pth` or sitecustomize.
    answer = ask(python, ("-I", "-S", "-c", _DESCRIBE))
    try:
        said, sites, user, module = json.loads(answer or "")
    except ValueError:
        return Layout(None)
    folders = [Path(folder) for folder in (*([] if os.environ.get("PYTHONNOUSERSITE") else [user]), *sites)]
    return Layout(said, _there(folders), Path(module).parent)


def ask(
    python: str, args: Sequence[str], *, cwd: str = "/", env: Mapping[str, str] | None = None
) -> str | None:
    """Run the interpreter and return its stdout; None when it fails, is not there, or takes too long."""
    try:
        done = subprocess.run(
            [python, *args],
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class _Installed:
    folders: tuple[Path, ...]
    distributions: Mapping[str, str]
    modules: Mapping[str, Path]
    unread_hooks: bool


def _installed(python: str) -> _Installed:
    from masuka_magic.preflight.pth import read_folder

    sites = layout(python).sites
    folders: list[Path] = []
    for site in sites:
        folders += [site, *read_folder(site, _stamp(site)).added]
    folders = list(dict.fromkeys(folders))
    return _read(sites, tuple(folders), tuple(_stamp(folder) for folder in folders))


@lru_cache(maxsize=32)
def _read(sites: tuple[Path, ...], folders: tuple[Path, ...], _stamps: tuple[int, ...]) -> _Installed:
    from masuka_magic.preflight.pth import read_folder

    known: dict[str, str] = {}
    found: dict[str, Path] = {}
    for folder in folders:
        for name, is_folder in _listed(folder):
            if name.endswith((".dist-info", ".egg-info", ".egg-link")):
                project, said = _distribution(name)
                known.setdefault(project, said)
            elif (is_folder and name.isidentifier()) or name.endswith((".py", ".pyc", ".so")):
                found.setdefault(name.partition(".")[0], folder / name)
    hooks = [read_folder(site, _stamp(site)) for site in sites]
    for hook in hooks:
        found = {**hook.mapped, **found}
    return _Installed(folders, known, found, any(hook.unread for hook in hooks))


def _listed(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield what a folder holds, by name, and whether it is a folder; nothing of a zip archive."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return
    yield from (one for one in found if not one[0].startswith((".", "__pycache__")))


def _distribution(file_name: str) -> tuple[str, str]:
    """Read name and version from NAME-VERSION.dist-info, NAME-VERSION-pyX.Y.egg-info, NAME.egg-info."""
    project, _, rest = file_name.rpartition(".")[0].partition("-")
    return normalized(project), rest.partition("-py")[0]
