"""Read a database URL as SQLAlchemy reads it, and say it in libpq's keywords.

Pure: looks at no environment and opens nothing. No message made here holds a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

from masuka_magic.diagnosis.findings import Finding, Remedy

#: What stands in a URL in the place of a password.
HIDDEN = "…"

_LIBPQ_DRIVERS = ("psycopg2", "psycopg", "psycopg2cffi", "")
_PORT = "5432"
_ESCAPE = "from urllib.parse import quote; quote(password, safe='')"

# The pattern of sqlalchemy.engine.url._parse_url (2.0 and 2.1): a password ends at the first "@". The database's
# name is unquoted as 2.1 does; 2.0 leaves its percent signs alone.
_URL = re.compile(
    r"""(?P<scheme>[\w+]+)://
        (?: (?P<user>[^:/]*) (?: :(?P<password>[^@]*) )? @ )?
        (?: (?: \[(?P<ipv6>[^/?]+)\] | (?P<host>[^/:?]+) )? (?: :(?P<port>[^/?]*) )? )?
        (?: /(?P<database>[^?]*) )?
        (?: \?(?P<query>.*) )?""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where a URL points. Hosts and ports run in pairs (several hosts: libpq tries them in turn).

    `hosts` is empty where the URL names none (the server's Unix socket); a host that begins with "/" is the
    folder of one. `options` are further libpq keywords. `driver` is "" where the URL leaves it to SQLAlchemy.
    """

    driver: str = ""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    database: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where the server is, as people write it: `127.0.0.1:5432`, `[::1]:5432`, `/var/run/postgresql`."""
        return ",".join(place(host, port) for host, port in zip(self.hosts, self.ports, strict=True))

    @property
    def shown(self) -> str:
        """Role, place and, where it is not the role's own, database: `masuka@127.0.0.1:5432/app`."""
        at = "@".join(part for part in (self.user, self.place or "the local socket") if part)
        return f"{at}/{self.database}" if self.database not in (None, "", self.user) else at

    def keywords(self) -> dict[str, str]:
        """Say it in libpq's keywords (its "Parameter Key Words"); what the URL leaves open is left out."""
        said = {
            "host": ",".join(self.hosts),
            "port": ",".join(self.ports),
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
        }
        return {**self.options, **{key: value for key, value in said.items() if value}}


def place(host: str, port: str) -> str:
    """Write host and port as one word; a Unix socket's folder needs no port when it is the usual one."""
    port = port or _PORT
    if not host:
        return f"the local socket:{port}"
    if host.startswith("/"):
        return host if port == _PORT else f"{host}:{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dialect_of(url: str) -> str:
    """Return the part of the scheme before the driver (`postgresql`, `sqlite`), "" where there is none."""
    match = re.match(r"\s*([\w.+-]+?)(?:\+[\w.-]*)?:", url)
    return match[1].lower() if match else ""


def parse_postgres_url(url: str) -> PostgresUrl | Finding:
    """Read a `postgresql` or `postgres` URL; where it cannot be read, or says what nobody means, a `bad-url`.

    The words of the finding name the part at fault and never hold a piece of what may be the password.
    """
    match = _URL.match(url.strip())
    if match is None:
        return _bad(
            "the database URL cannot be read", "expected postgresql://role:password@host:port/database"
        )
    parts = match.groupdict()
    torn = _torn_password(url.strip())
    if torn is not None:
        return torn
    driver = parts["scheme"].partition("+")[2]
    try:
        options, hosts_in_query = _read_query(parts["query"] or "", driver)
    except ValueError:
        return _bad(
            "the query of the database URL names a different number of hosts and ports", culprit="port"
        )
    pairs = hosts_in_query or _own_host(parts, options.pop("port", ""))
    if len(pairs) == 1 and not pairs[0][1]:
        pairs = [(pairs[0][0], parts["port"] or "")]
    for _, port in pairs:
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
            return _bad("the port in the database URL is not a number from 1 to 65535", culprit="port")
    return PostgresUrl(
        driver=driver,
        user=options.pop("user", None) or unquote(parts["user"] or "") or None,
        password=options.pop("password", None) or unquote(parts["password"] or "") or None,
        hosts=tuple(host for host, _ in pairs),
        ports=tuple(port for _, port in pairs),
        database=options.pop("dbname", None) or unquote(parts["database"] or "") or None,
        options=options,
    )


def _own_host(parts: Mapping[str, str | None], port_in_query: str) -> list[tuple[str, str]]:
    host, port = parts["ipv6"] or parts["host"], port_in_query or parts["port"] or ""
    return [(host, port)] if host else [("", port)] if port else []


def _read_query(query: str, driver: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Split a query into libpq's keywords and hosts, as SQLAlchemy's PostgreSQL dialects do.

    Several hosts stand as `host=a:1&host=b:2` or `host=a,b&port=1,2`. asyncpg's `ssl` is libpq's `sslmode`;
    what only asyncpg and pg8000 know is theirs to judge and left out. Raises ValueError where the numbers of
    hosts and ports differ.
    """
    said: dict[str, list[str]] = {}
    for key, value in parse_qsl(query):
        said.setdefault(key, []).append(value)
    hosts = [host for value in said.pop("host", []) for host in value.split(",")]
    ports = [port for value in said.get("port", []) for port in value.split(",")]
    pairs: list[tuple[str, str]] = []
    if hosts:
        said.pop("port", None)
        pairs = list(zip(hosts, ports, strict=True)) if ports else [_host_and_port(host) for host in hosts]
    options = {key: values[-1] for key, values in said.items()}
    if driver not in _LIBPQ_DRIVERS:
        ssl = options.pop("ssl", None)
        known = ("user", "password", "port", "sslmode", "dbname", "application_name")
        options = {key: value for key, value in options.items() if key in known}
        if ssl is not None:
            options["sslmode"] = {"true": "require", "false": "disable"}.get(ssl.lower(), ssl)
    return options, pairs


def _host_and_port(token: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9.\-]*):(\d*)", token)
    return (match[1], match[2]) if match else (token, "")


def _torn_password(url: str) -> Finding | None:
    """Find a password that a bare "@" cuts in two: its rest would be taken for the host."""
    scheme, _, rest = url.partition("://")
    before, _, query = rest.partition("?")
    user, colon, secret_and_place = before.partition(":")
    if not colon or "@" in user or before.count("@") < 2:  # noqa: PLR2004 - one is where the host begins
        return None
    password, _, host_and_database = secret_and_place.rpartition("@")
    written = ", ".join(f"{char} as {quote(char, safe='')}" for char in "@/:?#%" if char in password)
    shown = f"{scheme}://{user}:{HIDDEN}@{host_and_database}{'?…' if query else ''}"
    return Finding(
        "bad-url",
        "the password in the database URL holds a bare @, so the host is read from a piece of it",
        culprit="@ in the password",
        notes=("a password ends at the first @; what follows is taken for the host",),
        remedies=(
            Remedy(f"percent-escape the password: {written}", shown, kind="edit"),
            Remedy(
                "or let Python escape it",
                "from urllib.parse import quote; quote(password, safe='')",
                kind="python",
            ),
        ),
    )


def _bad(title: str, note: str | None = None, culprit: str = "database URL") -> Finding:
    notes = (note,) if note else ()
    remedy = Remedy("write it like this", f"postgresql://role:{HIDDEN}@127.0.0.1:5432/database", kind="edit")
    return Finding("bad-url", title, culprit=culprit, notes=notes, remedies=(remedy,))
