"""A PostgreSQL server of our own, in a folder of its own, for as long as this process lives.

It listens on 127.0.0.1 alone, asks for passwords (scram-sha-256), and leaves nothing behind: a small watcher
(`watch.py`) stops it and removes its folder when `close` is called, and also when this process is killed.
As root it runs as the user `postgres`, else `nobody`. Knows nothing of backends and magics.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from masuka_magic.demo.binaries import account_for_server, copy_programs, find_programs, reachable

_SUPERUSER = "postgres"
_LOOK_GAP_S = 0.01
_PORT_TRIES = 5
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "lc_messages": "C",
    "log_timezone": "UTC",
}
_HBA = ("host all all 127.0.0.1/32 scram-sha-256",)


class PostgresNotStartedError(RuntimeError):
    """The server ended, or did not accept a connection in time; with the end of its log."""


class EmbeddedPostgres:
    """A server with one role (no superuser) that owns one database: what a backend's DATABASE_URL names.

    `settings` go into postgresql.conf, over those that keep the server small; `hba` are the lines of
    pg_hba.conf for everybody but the superuser, who always gets in with a password over 127.0.0.1. `programs`
    is a folder with `initdb` and `postgres`; `template` a private folder in which initialised data are kept:
    it is made by the first server that names it and copied by the others of the same programs. `close`, or
    leaving the `with`, removes the server's folder; `stop` and `start` keep data and port.
    """

    def __init__(  # noqa: PLR0913 - all by name, all with a default
        self,
        *,
        role: str = "masuka",
        database: str = "masuka",
        password: str | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        hba: Sequence[str] = _HBA,
        programs: Path | None = None,
        template: Path | None = None,
        start_limit_s: float = 60.0,
    ) -> None:
        self.role = role
        self.database = database
        self.password = password or secrets.token_urlsafe(12)
        self.superuser_password = secrets.token_urlsafe(12)
        self.port = port or 0
        self._port_is_ours = port is None
        self._settings = {**_SETTINGS, **(settings or {})}
        self._hba = tuple(hba)
        self._start_limit_s = start_limit_s
        self._account = account_for_server()
        self._programs = programs or find_programs()
        self._template = template
        self._server: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self.start()
            self._create()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of the role and its database, with the password."""
        return self.url_for(self.role, self.password, self.database)

    @property
    def superuser_url(self) -> str:
        return self.url_for(_SUPERUSER, self.superuser_password, "postgres")

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is stopped."""
        return self._server.pid if self._server is not None and self._server.poll() is None else None

    @property
    def folder(self) -> Path:
        """What is removed at the end: `data`, `log`, and a copy of the programs where one was needed."""
        if self._folder is None:
            raise PostgresNotStartedError("the embedded PostgreSQL has not been entered")
        return self._folder

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def url_for(self, role: str, password: str, database: str) -> str:
        """Write a URL of this server with other credentials or another database."""
        user, secret, name = (quote(word, safe="") for word in (role, password, database))
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{name}"

    def start(self, *, wait: bool = True) -> None:
        """Start the server on its port; with `wait`, return when the superuser can connect.

        Raises PostgresNotStartedError with the end of the server's log.
        """
        if self.pid is not None:
            return
        for tries_left in reversed(range(_PORT_TRIES)):
            self.port = self.port or _free_port()
            self._server = self._spawn()
            if not wait:
                return
            try:
                self._wait_until_it_accepts()
            except PostgresNotStartedError as error:
                self.stop()
                if not (self._port_is_ours and tries_left and "could not bind" in str(error)):
                    raise
                self.port = 0  # Somebody took it between the choice and the bind.
            else:
                self._port_is_ours = False
                return

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop the server and keep its data: SIGINT ends open connections at once, SIGKILL is a crash."""
        if self._server is None:
            return
        if self._server.poll() is None:
            self._server.send_signal(number)
            try:
                self._server.wait(10.0)
            except subprocess.TimeoutExpired:
                self._server.kill()
        self._server.wait()
        self._server = None

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        if self._watcher is not None:
            self._watcher.communicate()  # Closes the pipe, which is its sign, and waits until it is done.
            self._watcher = None

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append settings to postgresql.conf; they hold from the next start on."""
        lines = [f"{key} = '{value}'" for key, value in settings.items()]
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one SQL statement as the superuser and return its rows."""
        import psycopg2

        connection = psycopg2.connect(self.url_for(_SUPERUSER, self.superuser_password, database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description is not None else []
        finally:
            connection.close()

    def _prepare(self) -> None:
        """Make the folder, the watcher and the data."""
        self._folder = Path(tempfile.mkdtemp(prefix="masuka-postgres-", dir=self._roomy_place()))
        self._watcher = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(Path(__file__).with_name("watch.py")),
                str(self._folder),
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # An interrupt of the terminal or the kernel is not meant for it.
        )
        self._give(self._folder)
        if self._account is not None and not reachable(self._programs, self._account):
            self._programs = copy_programs(self._programs, self._folder / "programs")
        self._initialise()
        self.configure(self._settings)
        ours = f"host all {_SUPERUSER} 127.0.0.1/32 scram-sha-256"
        (self.data / "pg_hba.conf").write_text("\n".join([ours, *self._hba, ""]), "utf-8")

    def _roomy_place(self) -> str:
        """Choose where the server's user can enter: below a private home it cannot."""
        usual = tempfile.gettempdir()
        if self._account is None:
            return usual
        places = (usual, "/tmp", "/var/tmp")  # noqa: S108 - mkdtemp makes a private folder there
        return next((place for place in places if reachable(Path(place), self._account)), usual)

    def _initialise(self) -> None:
        kept = self._template
        password = self.folder / "password"
        if kept is not None and kept.exists():
            self.superuser_password = (kept / "password").read_text("utf-8")
            shutil.copytree(kept / "data", self.data)
            for path in [self.data, *self.data.rglob("*")]:
                self._give(path)
            return
        password.touch(mode=0o600)
        password.write_text(self.superuser_password, "utf-8")
        self._give(password)
        options = ("--no-sync", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-instructions")
        who = ("-U", _SUPERUSER, "--pwfile", str(password))
        done = subprocess.run(
            [str(self._programs / "initdb"), *options, *who, "-D", str(self.data)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            **self._as_server(),
        )
        if done.returncode != 0:
            raise PostgresNotStartedError(f"initdb failed: {done.stderr.decode('utf-8', 'replace').strip()}")
        if kept is not None:
            self._keep(kept, password)
        password.unlink()

    def _keep(self, template: Path, password: Path) -> None:
        """Fill the template in one step, since several processes may want the same one."""
        template.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{template.name}.", dir=template.parent))
        shutil.copytree(self.data, draft / "data")
        shutil.copyfile(password, draft / "password")
        try:
            draft.rename(template)
        except OSError:  # Another process was first; its template serves as well.
            shutil.rmtree(draft)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # As the watcher: an interrupt would stop it.
                **self._as_server(),
            )

    def _wait_until_it_accepts(self) -> None:
        import psycopg2

        deadline = time.monotonic() + self._start_limit_s
        while True:
            try:
                psycopg2.connect(self.superuser_url, connect_timeout=2).close()
            except psycopg2.OperationalError as error:
                if self.pid is None or time.monotonic() > deadline:
                    tail = self.log.read_text("utf-8", "replace").strip().splitlines()[-5:]
                    raise PostgresNotStartedError("\n".join(["PostgreSQL did not start", *tail])) from error
            else:
                return
            time.sleep(_LOOK_GAP_S)

    def _create(self) -> None:
        """Make role and database: the role owns it, so that it may create tables (since PostgreSQL 15)."""
        role, database = (word.replace('"', '""') for word in (self.role, self.database))
        secret = self.password.replace("'", "''")
        self.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{secret}'")
        self.execute(f'CREATE DATABASE "{database}" OWNER "{role}"')

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _as_server(self) -> dict[str, Any]:
        """Say what Popen needs to run a program as the server's user, in a folder that it may enter.

        PG* variables would change where the programs look; LC_ALL keeps the messages in English.
        """
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
        options: dict[str, Any] = {"cwd": self.folder, "env": {**env, "LC_ALL": "C", "TZ": "UTC"}}
        if self._account is not None:
            options.update(user=self._account.uid, group=self._account.gid, extra_groups=[])
        return options


def _free_port() -> int:
    """Choose below the kernel's own range (32768 and up), where nobody is given a port by chance."""
    while True:
        port = random.randint(20000, 32000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
