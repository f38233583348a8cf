"""Commands that mend a PostgreSQL server, written for the machine they are pasted on.

Pure. Names come from URLs and from the server, so each is quoted for SQL and for the shell; no password is
ever written: `…` stands where the user puts it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from masuka_magic.diagnosis.findings import Remedy
from masuka_magic.diagnosis.postgres_url import HIDDEN, PostgresUrl, place

if TYPE_CHECKING:
    from masuka_magic.diagnosis.machine import Machine

# The reserved words that are likely as a name; quoting one more than needed does no harm.
_RESERVED = frozenset({"all", "analyse", "default", "end", "group", "order", "table", "user", "window"})


def quote_name(name: str) -> str:
    """Write a name as an SQL identifier; plain where SQL would read it the same."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def quote_argument(text: str) -> str:
    """Quote for a POSIX shell, in double quotes where the text holds single ones, as people write it."""
    if "'" in text and not re.search(r"[$`\\!]", text):
        return '"' + text.replace('"', '\\"') + '"'
    return shlex.quote(text)


def is_local(host: str) -> bool:
    """Whether a host as a URL names it is this machine."""
    return host in ("", "localhost", "::1") or host.startswith(("/", "127."))


def start_server(here: Machine) -> Remedy:
    """Start the server of this machine, or install it where there is none."""
    argv: tuple[str, ...] | None = None
    if not here.server and here.apt:
        root = "sudo " if not here.root and here.sudo else ""
        command = f"{root}apt-get install -y postgresql && {root}service postgresql start"
        return _in_its_place(Remedy("install PostgreSQL and start it", command), here)
    if here.systemd:
        argv = ("systemctl", "start", "postgresql")
    elif here.service:
        argv = ("service", "postgresql", "start")
    elif here.brew:
        return Remedy("start the server", "brew services start postgresql", safe=True)
    elif here.pg_ctl and here.data_folder:
        argv = ("pg_ctl", "-D", here.data_folder, "start")
        if not here.root:
            return Remedy("start the server", shlex.join(argv), argv=argv, safe=True)
        argv = ("runuser", "-u", "postgres", "--", *argv)
    if argv is None:
        return Remedy("start the PostgreSQL server")
    if here.root:
        return _in_its_place(Remedy("start the server", shlex.join(argv), argv=argv, safe=True), here)
    return _in_its_place(Remedy("start the server", shlex.join(("sudo", *argv)), safe=True), here)


def run_sql(
    text: str, statement: str, url: PostgresUrl | None, here: Machine, *, database: str | None = None
) -> Remedy:
    """Run a statement as the server's superuser: over its socket on this machine, over TCP on another one.

    `database` is named where the statement is about what is in it.
    """
    host = url.hosts[0] if url and url.hosts else ""
    port = (url.ports[0] if url and url.ports else "") or "5432"
    argv = ["psql"] if is_local(host) else ["psql", "-h", host, "-U", "postgres"]
    if port != "5432":
        argv += ["-p", port]
    if database is not None or not is_local(host) or here.brew:
        argv += ["-d", database or "postgres"]
    if is_local(host) and not here.brew:
        if here.sudo:
            argv = ["sudo", "-u", "postgres", *argv]
        elif here.root:
            argv = ["runuser", "-u", "postgres", "--", *argv]
        else:
            argv += ["-U", "postgres"]
    command = " ".join([*(quote_argument(word) for word in argv), "-c", quote_argument(statement)])
    if not command.isprintable() or (here.colab and re.search(r"[${}]", command)):
        # A cell would fill in $name and {name}, and a line break would end the command: then SQL alone.
        return Remedy(
            f"{text} (as the superuser, in psql)", statement if statement.isprintable() else None, "sql"
        )
    return _in_its_place(Remedy(text, command), here)


def write_url(text: str, url: PostgresUrl | None, *, host: str | None = None, option: str = "") -> Remedy:
    """Propose how the URL should read, with this host or this option; the password stays hidden."""
    url = url or PostgresUrl(user="role", hosts=("127.0.0.1",), ports=("5432",), database="database")
    if host is not None:
        url = replace(url, hosts=(host,), ports=((url.ports[0] if url.ports else "") or "5432",))
    scheme = f"postgresql+{url.driver}" if url.driver else "postgresql"
    role = quote(url.user or "role", safe="")
    where = ",".join(place(*pair) for pair in zip(url.hosts, url.ports, strict=True))
    if where.startswith("/"):
        where, option = "", "&".join(part for part in (option, f"host={url.hosts[0]}") if part)
    command = f"{scheme}://{role}:{HIDDEN}@{where}/{quote(url.database or url.user or 'database', safe='')}"
    return Remedy(text, f"{command}?{option}" if option else command, "edit")


def _in_its_place(remedy: Remedy, here: Machine) -> Remedy:
    """Make a shell command one for a cell on Colab, which has no terminal of its own."""
    return replace(remedy, command=f"!{remedy.command}", kind="cell") if here.colab else remedy
