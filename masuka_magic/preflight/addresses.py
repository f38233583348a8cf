"""Find the addresses of a host and open a connection to one of them, each within a limit.

Knows no protocol. The system's name lookup cannot be interrupted and may take half a minute, so it runs in a
daemon thread of its own, which is left behind when it takes too long.
"""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
import time
from collections.abc import Sequence

#: How late an interrupt may be noticed.
_CANCEL_GAP_S = 0.05


def look_up(host: str, limit_s: float, cancelled: threading.Event) -> tuple[str, ...] | str:
    """Return the addresses of a host, else the words that say why there are none: `interrupted` on an interrupt.

    An address is returned as it is, without a lookup.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return (host,)
    answers: queue.SimpleQueue[tuple[str, ...] | str] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: answers.put(_ask(host)), name=f"masuka-look-up-{host}", daemon=True
    )
    thread.start()
    deadline = time.monotonic() + limit_s
    while not cancelled.is_set():
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return f"no name server answered within {limit_s:.2g} s"
        try:
            return answers.get(timeout=min(left_s, _CANCEL_GAP_S))
        except queue.Empty:
            continue
    return "interrupted"


def _ask(host: str) -> tuple[str, ...] | str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        return (isinstance(error, OSError) and error.strerror) or "not a host name"
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def open_connection(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    """Connect to the first address that accepts, before `deadline` on the monotonic clock.

    An address that begins with "/" is the path of a Unix socket. Raises OSError, that of the last address.
    """
    failure: OSError = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    for position, address in enumerate(addresses):
        left_s = (deadline - time.monotonic()) / (len(addresses) - position)
        if left_s <= 0:
            break
        family = (
            socket.AF_UNIX if address[:1] == "/" else socket.AF_INET6 if ":" in address else socket.AF_INET
        )
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(left_s)
        try:
            connection.connect(address if family == socket.AF_UNIX else (address, port))
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def words_of(error: OSError) -> str:
    """Say why a connection failed, in the system's words: `Connection refused`."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__
