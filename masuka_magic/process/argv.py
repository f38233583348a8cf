"""The command line of a backend: one pure function from what was asked for to what is run.

It knows how each server wants its address, its application and its workers; it reads and starts nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.config.model import ConfigError

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig

BOOTSTRAP = str(Path(__file__).with_name("bootstrap.py"))

_SHELL = ("/bin/sh", "-c")
_HYPERCORN_PORT = 8000  # hypercorn/config.py and gunicorn/util.py: the port of a bind that names none.


def build_argv(
    config: StartConfig, port: int, *, gunicorn_worker: str | None = None, bootstrap: str = BOOTSTRAP
) -> tuple[str, ...]:
    """Build what is run for a configuration with its port chosen.

    `gunicorn_worker` is the worker class to name when the user's arguments name none. Raises ConfigError when
    the arguments ask for another address than host and port do.
    """
    target = config.target
    args = tuple(_filled(word, config.host, port) for word in config.args)
    watched = (config.python, bootstrap)
    if target.kind == "script":
        return (*watched, target.value, *args)
    if target.kind == "module":
        return (*watched, "-m", target.value, *args)
    if target.kind == "command":
        return (*(_filled(word, config.host, port) for word in target.argv), *_for_command(target.argv, args))
    app = ("--app", target.value, *(("--factory",) if config.factory else ()))
    return (*watched, *app, "-m", config.server, *_server(config, port, args, gunicorn_worker))


def _filled(word: str, host: str, port: int) -> str:
    """Fill in what the braces name and leave every other brace alone: JSON is a fine argument."""
    return word.replace("{port}", str(port)).replace("{host}", host)


def _for_command(argv: Sequence[str], args: tuple[str, ...]) -> tuple[str, ...]:
    """Pass further arguments to a command; a shell takes the first for its own name, $0, the next for $1."""
    return ("sh", *args) if args and tuple(argv[:2]) == _SHELL else args


def _server(config: StartConfig, port: int, args: tuple[str, ...], worker: str | None) -> tuple[str, ...]:
    app = config.target.value
    if config.server == "uvicorn":
        factory = ("--factory",) if config.factory and "--factory" not in args else ()
        return (app, *factory, *_uvicorn_address(config, port, args), *args)
    # Both evaluate what stands behind the colon: a call is their way to name a factory.
    app = f"{app}()" if config.factory else app
    workers: tuple[str, ...] = ()
    if config.server == "gunicorn" and worker is not None and not names_worker(args):
        workers = ("--worker-class", worker)
    return (app, *_bind(config, port, args), *workers, *args)


def names_worker(args: Sequence[str]) -> bool:
    """Say whether gunicorn's arguments choose a worker class."""
    return any(True for _ in _given(args, "--worker-class", "-k"))


def _uvicorn_address(config: StartConfig, port: int, args: tuple[str, ...]) -> tuple[str, ...]:
    for option in ("--uds", "--fd"):
        for written, _ in _given(args, option):
            raise ConfigError(f"args: {written}: the backend is asked at host and port; leave it out")
    address: list[str] = []
    for option, ours in (("--host", config.host), ("--port", str(port))):
        given = list(_given(args, option))
        for written, value in given:
            if _bare(value) != _bare(ours):
                key, wish = option[2:], value if option == "--port" else f'"{value}"'
                raise _contradiction(written, f"{key} = {_said(config, key)}", f"set {key} = {wish}")
        if not given:
            address += (option, ours)
    return tuple(address)


def _bind(config: StartConfig, port: int, args: tuple[str, ...]) -> tuple[str, ...]:
    given = list(_given(args, "--bind", "-b"))
    ours = (_bare(config.host), str(port))
    if not given:
        host = f"[{_bare(config.host)}]" if ":" in config.host else config.host
        return ("--bind", f"{host}:{port}")
    # A server may bind to further addresses; one of them is the one that is asked.
    if ours not in [_address(value) for _, value in given]:
        here = f"host = {_said(config, 'host')}, port = {_said(config, 'port')}"
        raise _contradiction(given[0][0], here, "set host and port")
    return ()


def _contradiction(written: str, here: str, instead: str) -> ConfigError:
    return ConfigError(f"args: {written} contradicts {here}; leave it out, or {instead}")


def _said(config: StartConfig, key: str) -> str:
    if key == "port":
        return '"auto"' if config.port is None else str(config.port)
    return f'"{config.host}"'


def _bare(host: str) -> str:
    return host.strip("[]").lower()


def _address(bind: str) -> tuple[str, str]:
    """Read HOST:PORT, [HOST]:PORT or HOST as hypercorn and gunicorn do; a socket's path is no address."""
    found = re.fullmatch(r"(?:tcp://)?(\[[^\]]*\]|[^:]*|[^\[].*:.*):(\d+)", bind)
    return (_bare(found[1]), found[2]) if found else (_bare(bind), str(_HYPERCORN_PORT))


def _given(args: Sequence[str], long: str, short: str | None = None) -> Iterator[tuple[str, str]]:
    """Find an option wherever it is given: as written, and its value. One without a value is passed over."""
    for number, word in enumerate(args):
        if word in {long, short}:
            for value in args[number + 1 : number + 2]:
                yield shlex.join((word, value)), value
        elif word.startswith(f"{long}="):
            yield word, word.partition("=")[2]
        elif short is not None and word.startswith(short) and not word.startswith("--"):
            yield word, word.removeprefix(short).removeprefix("=")
