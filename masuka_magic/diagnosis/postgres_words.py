"""Read where a message of libpq happened: its lines, and the server that each speaks of. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.postgres_url import place

if TYPE_CHECKING:
    from masuka_magic.diagnosis.postgres_url import PostgresUrl

ATTEMPT = re.compile(
    r'server at "(?P<host>[^"]*)"(?: \((?P<address>[^)]*)\))?, port (?P<port>\d+) failed: (?P<reason>[^\n]*)'
    r'|server on socket "(?P<socket>[^"]*)" failed: (?P<socket_reason>[^\n]*)'
)
_OLD_PLACE = re.compile(
    r'host "(?P<host>[^"]*)"(?: \((?P<address>[^)]*)\))? and accepting\s+'
    r"TCP/IP connections on port (?P<port>\d+)"
    r'|socket "(?P<socket>[^"]*)"'
)
_PG8000_PLACE = re.compile(r"create a connection to host (?P<host>\S+) and port (?P<port>\d+)")


def line_at(message: str, position: int) -> str:
    """Return the line that holds a position."""
    begin = message.rfind("\n", 0, position) + 1
    return message[begin:].partition("\n")[0].strip()


def place_of(message: str, line: str, url: PostgresUrl | None) -> tuple[str, str]:
    """Find where a line happened, as host:port and as host: in the line, in the message, else in the URL."""
    match = ATTEMPT.search(line) or ATTEMPT.search(message) or _OLD_PLACE.search(message)
    if match:
        if match["socket"]:
            return match["socket"], "/"
        return place(match["host"], match["port"]), match["host"]
    match = _PG8000_PLACE.search(message)
    if match:
        return place(match["host"], match["port"]), match["host"]
    if url is None:
        return "the server", "the server"
    return url.place or "the local socket", url.hosts[0] if url.hosts else ""


def visible(text: str) -> str:
    """Escape what does not print: a name may hold control characters."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
