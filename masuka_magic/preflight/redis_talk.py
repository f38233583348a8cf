"""Speak to a Redis over one socket: log in, select, ping, ask its version, in one round trip.

RESP2, which every version answers (https://redis.io/docs/latest/develop/reference/protocol-spec/). Decides
nothing: what the server said is returned as it is.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from masuka_magic.preflight.addresses import open_connection

_MOST_BYTES = 65_536


class HandshakeError(TimeoutError):
    """The server said nothing to the offer of TLS, as one does that waits for more of a command."""


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where a URL points, as redis-py reads it (redis/connection.py, parse_url). `path` is a Unix socket's."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: bool = False
    verify: bool = True
    authority: str = ""

    @property
    def place(self) -> str:
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_redis_url(url: str) -> RedisUrl | None:
    """Read a redis://, rediss:// or unix:// URL; None where it cannot be read."""
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname
    except ValueError:
        return None
    asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    local = parts.scheme in {"unix", "redis+socket", "socket"}
    path = unquote(parts.path)
    number = asked.get("db") or asked.get("virtual_host") or ("" if local else path.strip("/")) or "0"
    if not (number.isascii() and number.isdigit()):
        return None
    return RedisUrl(
        host=unquote(host or "localhost"),
        port=port or 6379,
        path=path if local else "",
        user=unquote(parts.username or "") or asked.get("username", ""),
        password=unquote(parts.password or "") or asked.get("password", ""),
        database=int(number),
        tls=parts.scheme == "rediss",
        verify=asked.get("ssl_cert_reqs", "required").lower().removeprefix("cert_") == "required",
        authority=asked.get("ssl_ca_certs", ""),
    )


@dataclass(frozen=True, slots=True)
class RedisAnswer:
    """What a server answered: by command, its first line with its sign (`+PONG`, `-NOAUTH …`); "" for nothing.

    `foreign` is the beginning of an answer that is not Redis's.
    """

    replies: dict[str, str]
    version: str = ""
    seconds: float = 0.0
    foreign: str = ""


def talk(url: RedisUrl, addresses: tuple[str, ...], deadline: float) -> RedisAnswer:
    """Ask everything at once. Raises OSError where there is no conversation: also ssl.SSLError, HandshakeError."""
    commands: list[tuple[str, ...]] = []
    if url.password or url.user:
        commands.append(("AUTH", *([url.user] if url.user else []), url.password))
    if url.database:
        commands.append(("SELECT", str(url.database)))
    commands += [("PING",), ("INFO", "server")]
    with open_connection(addresses, url.port, deadline) as plain:
        begun = time.monotonic()
        with _in_tls(plain, url, deadline) if url.tls else plain as connection:
            connection.sendall(b"".join(_request(command) for command in commands))
            reader = _Reader(connection, deadline)
            replies: dict[str, str] = {}
            seconds = 0.0
            for command in commands:
                reply = reader.reply()
                seconds = seconds or time.monotonic() - begun
                if reply is None:
                    return RedisAnswer(replies, seconds=seconds, foreign=reader.foreign)
                replies[command[0]] = reply
    version = re.search(r"redis_version:(\S+)", replies.get("INFO", ""))
    return RedisAnswer(replies, version[1] if version else "", seconds)


def _in_tls(plain: socket.socket, url: RedisUrl, deadline: float) -> socket.socket:
    import ssl

    context = ssl.create_default_context(cafile=url.authority or None)
    if not url.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    plain.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        return context.wrap_socket(plain, server_hostname=url.host)
    except TimeoutError as error:
        raise HandshakeError from error


def _request(words: tuple[str, ...]) -> bytes:
    """Write a command as an array of bulk strings."""
    pieces = [word.encode() for word in words]
    return b"*%d\r\n" % len(pieces) + b"".join(b"$%d\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


class _Reader:
    """Reads replies: lines with a sign, and bulk strings."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._held = b""
        self.foreign = ""

    def reply(self) -> str | None:
        """Return the next reply; None where the server has closed the connection or speaks otherwise."""
        line = self._line()
        if line is None:
            return None
        text = line.decode("utf-8", "replace")
        length = re.fullmatch(r"\$(\d{1,5})", text)
        if length:
            body = self._bytes(int(length[1]) + 2)
            return None if body is None else body.decode("utf-8", "replace")
        if text[:1] not in ("+", "-", ":", "$"):
            self.foreign = text[:80]
            return None
        return text

    def _line(self) -> bytes | None:
        while b"\r\n" not in self._held:
            if not self._more():
                self.foreign = self._held[:80].decode("utf-8", "replace")
                return None
        line, _, self._held = self._held.partition(b"\r\n")
        return line

    def _bytes(self, count: int) -> bytes | None:
        while len(self._held) < count:
            if not self._more():
                return None
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _more(self) -> bool:
        """Receive once; False at the end of the stream. Raises TimeoutError at the deadline."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0 or len(self._held) > _MOST_BYTES:
            raise TimeoutError
        self._connection.settimeout(left_s)
        got = self._connection.recv(4096)
        self._held += got
        return bool(got)
