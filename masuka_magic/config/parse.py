"""From the line, the cell, Python's arguments and masuka.toml to one StartConfig.

The line overrides the cell and Python's arguments, those override masuka.toml; then the rest is resolved:
paths made absolute, names filled in, the database found, secrets collected. Pure apart from World's
callables. What is wrong ends here with a ConfigError of one line, before anything is started.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from masuka_magic.config import database as db
from masuka_magic.config import dotenv
from masuka_magic.config.fill import Filler
from masuka_magic.config.layers import Layer, merge, read_table, read_toml
from masuka_magic.config.line import parse_line
from masuka_magic.config.model import ConfigError, Database, Health, StartConfig, StartOptions, Target
from masuka_magic.config.quantities import MINUTE_S
from masuka_magic.config.schema import OF_TARGET, OPTIONS, TARGETS
from masuka_magic.config.stored import stored_form
from masuka_magic.config.values import split
from masuka_magic.config.wording import described, quoted
from masuka_magic.redact import is_secret_name, is_worth_masking, url_passwords

if TYPE_CHECKING:
    from masuka_magic.config.model import TargetKind
    from masuka_magic.config.world import World

CONFIG_FILE = "masuka.toml"
PYTHON_PLACE = "start()"


def read_config(
    *, line: str, cell: str | None, overrides: Mapping[str, Any] | None, world: World
) -> tuple[StartConfig, StartOptions]:
    """Read what is to be started and how this call behaves.

    `overrides` are the arguments of masuka_magic.start: the keys of the cell, and the options as booleans.
    With nothing given anywhere it is MASUKA V2's own backend. Raises ConfigError.
    """
    parsed = parse_line(line)
    if parsed.wants_help:
        raise ConfigError("line: --help shows the options and starts nothing")
    from_python, options = _read_overrides(overrides or {}, parsed.options)
    from_cell = read_toml(cell, "cell") if cell is not None else {}
    config_file = str(PurePosixPath(world.cwd, CONFIG_FILE))
    text = _read(world, config_file, CONFIG_FILE)
    from_file = read_toml(text, CONFIG_FILE) if text is not None else {}
    merged = merge([parsed.layer, from_python, from_cell, from_file])
    # A target or a folder on the line is somebody else's backend: MASUKA V2's database has no say in it.
    is_masuka = text is None and not from_cell and not from_python
    is_masuka = is_masuka and not any((name,) in parsed.layer for name in (*TARGETS, "cwd"))
    config = _Resolver(world, merged, is_masuka=is_masuka).config(config_file if text is not None else None)
    return config, options


def _read_overrides(overrides: Mapping[str, Any], options: StartOptions) -> tuple[Layer, StartOptions]:
    from dataclasses import replace

    keys = {name: value for name, value in overrides.items() if name not in OPTIONS}
    switches = {name: value for name, value in overrides.items() if name in OPTIONS}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{PYTHON_PLACE}: {name} wants True or False, not {described(value)}")
    options = replace(options, **switches)
    if options.restart and options.reuse:
        raise ConfigError(f'{PYTHON_PLACE}: "restart" and "reuse" are both given, keep one of them')
    return read_table(keys, PYTHON_PLACE), options


def _read(world: World, path: str, where: str) -> str | None:
    try:
        return world.read_text(path)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{where}: it is not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start})"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise ConfigError(f"{where}: cannot be read: {reason}") from None


class _Resolver:
    """Turns one merged layer into a StartConfig; lives for one call."""

    def __init__(self, world: World, merged: Layer, *, is_masuka: bool) -> None:
        self._world = world
        self._merged = merged
        self._is_masuka = is_masuka
        self._filler = Filler(world)

    def config(self, config_file: str | None) -> StartConfig:
        """Resolve everything, in the order in which one thing needs another."""
        target = self._target()
        cwd = self._cwd()
        env_file = tuple(self._absolute(path, "env_file", cwd) for path in self._value("env_file", ()))
        from_files = self._read_env_files(env_file)
        own_env = {
            path[1]: self._filler.fill(setting.value, setting)
            for path, setting in self._merged.items()
            if path[0] == "env"
        }
        args = tuple(self._filler.fill(word, self._merged["args",]) for word in self._value("args", ()))
        environ = {**self._world.environ, **from_files, **own_env}
        dot_env, complaint = self._read_dotenv(cwd, environ)
        places = [
            db.Place("[env]", own_env),
            db.Place(f"env_file {PurePosixPath(env_file[-1]).name}" if env_file else "env_file", from_files),
            db.Place("the kernel's environment", self._world.environ),
            db.Place(db.DOTENV, dot_env),
        ]
        database, must_give = self._database(places, complaint)
        env = {**from_files, **own_env}
        if database and must_give:
            env[db.VARIABLE] = database.url
        secrets = self._secrets([*(place.values for place in places)], database)
        port = self._value("port", 8000)
        grace = self._value("orphan_grace", None)
        return StartConfig(
            target=target,
            cwd=cwd,
            python=self._python(cwd),
            args=args,
            env=env,
            env_file=env_file,
            port=None if port == "auto" else port,
            health=self._health(),
            database=database,
            secrets=secrets,
            raw=stored_form(self._merged, secrets),
            config_file=config_file,
            orphan_grace_s=600.0 if grace is None else None if grace == "never" else grace * MINUTE_S,
            **self._plain(),
        )

    def _value(self, name: str, otherwise: Any) -> Any:  # noqa: ANN401 - a form per kind
        setting = self._merged.get((name,))
        return otherwise if setting is None else setting.value

    def _plain(self) -> dict[str, Any]:
        """Return the settings that need no resolving, under the names that the model gives them."""
        names = {
            "stall": "stall_s",
            "max_wait": "max_wait_s",
            "liveness": "liveness_s",
            "max_log": "max_log_bytes",
        }
        names |= {name: name for name in ("name", "factory", "server", "host", "gpu", "on_stall")}
        return {field: self._merged[name,].value for name, field in names.items() if (name,) in self._merged}

    def _target(self) -> Target:
        kind: TargetKind = next((name for name in TARGETS if (name,) in self._merged), "app")
        for name, kinds in OF_TARGET.items():
            setting = self._merged.get((name,))
            if setting and setting.value is not False and kind not in kinds:
                raise ConfigError(f"{setting.place}: {setting.label} goes with {kinds[0]}, not with {kind}")
        value = str(self._value(kind, "app.main:app"))
        if kind == "script" and value.startswith("~"):
            value = self._absolute(value, "script", self._world.cwd)
        argv: tuple[str, ...] = ()
        if kind == "command":
            argv = ("/bin/sh", "-c", value) if self._value("shell", otherwise=False) else split(value, "")
        return Target(kind, value, argv)

    def _cwd(self) -> str:
        if self._is_masuka:
            return db.MASUKA_CWD
        return self._absolute(self._value("cwd", "."), "cwd", self._world.cwd)

    def _absolute(self, path: str, name: str, folder: str) -> str:
        """Make a path absolute without following links: a virtual environment's python is one."""
        if path.startswith("~"):
            setting = self._merged[name,]
            home = self._world.environ.get("HOME")
            if not home or path[1:2] not in {"", "/"}:
                why = "HOME is not set" if path[1:2] in {"", "/"} else "only ~ and ~/… are known"
                raise ConfigError(
                    f"{setting.place}: {setting.label} {quoted(path)} cannot be expanded, {why}"
                )
            path = home + path[1:]
        return os.path.normpath(PurePosixPath(folder, path))

    def _python(self, cwd: str) -> str:
        value = self._value("python", None)
        if value is None:
            return self._world.python
        if "/" in value or value.startswith("~"):
            return self._absolute(value, "python", cwd)
        found = self._world.which(value)
        if found is None:
            setting = self._merged["python",]
            raise ConfigError(f"{setting.place}: {setting.label} {quoted(value)} is not on PATH")
        return str(PurePosixPath(self._world.cwd, found))

    def _read_env_files(self, paths: tuple[str, ...]) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in paths:
            setting = self._merged["env_file",]
            where = f"{setting.place}: {setting.label} {quoted(path, 72)}"
            text = _read(self._world, path, where)
            if text is None:
                raise ConfigError(f"{where}: there is no such file")
            lines = dotenv.statements(text)
            broken = next((line.line for line in lines if line.name is None), None)
            if broken is not None:
                raise ConfigError(f"{where}: line {broken} is not NAME=VALUE")
            if "\0" in text:
                raise ConfigError(f"{where}: it holds a NUL character, which no program can be given")
            found |= dotenv.values(lines, {**self._world.environ, **found}, file_first=True)
        return found

    def _read_dotenv(self, cwd: str, environ: Mapping[str, str]) -> tuple[dict[str, str], ConfigError | None]:
        """Read `.env`; that it cannot be read is an error only where the URL has to come from it."""
        path = str(PurePosixPath(cwd, db.DOTENV))
        try:
            text = _read(self._world, path, f"file {quoted(path, 72)}")
        except ConfigError as error:
            return {}, error
        return dotenv.values(dotenv.statements(text or ""), environ, file_first=False), None

    def _database(
        self, places: list[db.Place], complaint: ConfigError | None
    ) -> tuple[Database | None, bool]:
        setting = self._merged.get(("database",))
        if setting and setting.value is False:
            return None, False
        if setting:
            url = self._filler.fill(setting.value, setting)
            if not db.is_url(url):
                where = f"{setting.place}: {setting.label}"
                raise ConfigError(f"{where} is no URL such as postgresql://USER:PASSWORD@HOST:5432/NAME")
            return db.given_database(url, places)
        seen = db.seen_database(places)
        if seen is None and complaint and not any(db.VARIABLE in place.values for place in places):
            raise ConfigError(f"{complaint}; it is read for DATABASE_URL (database = false: do not)")
        if seen is None and self._is_masuka:
            seen = db.masuka_database(places[-1].values)
        return seen, False

    def _health(self) -> Health:
        given = {path[1]: setting.value for path, setting in self._merged.items() if path[0] == "health"}
        if "timeout" in given:
            given["timeout_s"] = given.pop("timeout")
        return Health(**given)

    def _secrets(self, variables: list[Mapping[str, str]], database: Database | None) -> frozenset[str]:
        """Collect what to mask: filled-in values, variables with a secret's name, passwords of URLs."""
        found = set(self._filler.secrets)
        for values in variables:
            for name, value in values.items():
                found |= {value} if is_secret_name(name) else set()
                found |= url_passwords(value)
        found |= url_passwords(database.url) if database else set()
        return frozenset(value for value in found if is_worth_masking(value))
