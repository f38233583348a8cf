"""Check the port that the backend will bind: free, or held, and by whom.

Free is what a server finds: a socket with SO_REUSEADDR, as uvicorn, hypercorn and gunicorn set it, is bound
and closed again. Whoever holds the port is named and left alone; a free port is offered.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Sequence

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.preflight.check import CheckContext, CheckResult
from masuka_magic.preflight.holder import brief, describe_holder
from masuka_magic.process.listeners import Listener, listeners

_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound
_FIRST_FREE_TRIES = 100
_LAST_PORT = 65535


class PortCheck:
    """Look at the configured address once."""

    name = "port"
    requires: tuple[str, ...] = ()

    def run(self, context: CheckContext) -> CheckResult:
        config = context.config
        if config.port is None:
            return CheckResult("skip", "auto: a free one is picked")
        host, port = config.host, config.port
        refusal = _bind_error(host, port)
        if refusal is not None and refusal.errno != errno.EADDRINUSE:
            return _failed(_unusable(host, port, refusal))
        holders = [listener for listener in listeners(port) if _overlaps(host, listener)]
        if refusal is not None or any(_same_family(host, listener) for listener in holders):
            return _failed(_held(host, port, holders, config.secrets))
        if holders:
            other = holders[0]
            who, where = brief(other, config.secrets), _place(other.address, port)
            return CheckResult("warn", f"{port} is free at {host}, but {who} listens at {where}")
        return CheckResult("pass", f"{port} is free")


def pick_free_port(host: str) -> int:
    """Return a port that is free on the host now, for "auto". Raises OSError where the host cannot be bound.

    Ports below the kernel's own range for outgoing connections are tried first: between now and the server's
    bind nobody is given one of those by chance.
    """
    for _ in range(_FIRST_FREE_TRIES):
        port = random.randint(20000, 32000)  # noqa: S311 - no secret
        refusal = _bind_error(host, port)
        if refusal is None and not listeners(port):
            return port
        if refusal is not None and refusal.errno != errno.EADDRINUSE:
            raise refusal
    family, _, _, _, address = _addresses(host, 0)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def _next_free_port(host: str, port: int) -> int | None:
    """Find the nearest free port above one that is held; above 1023, so that no privilege is needed."""
    first = max(port + 1, 1024)
    for candidate in range(first, min(first + _FIRST_FREE_TRIES, _LAST_PORT + 1)):
        if _bind_error(host, candidate) is None and not listeners(candidate):
            return candidate
    return None


def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    return list(socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))


def _bind_error(host: str, port: int) -> OSError | None:
    """Bind every address of the host in turn, as a server does, and return what is in the way.

    An address of a family that this machine lacks is passed over where another one can be bound.
    """
    try:
        addresses = _addresses(host, port)
    except OSError as error:
        return error
    missing: OSError | None = None
    bound = False
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
            bound = True
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return error
            missing = error
    return None if bound else missing


def _overlaps(host: str, listener: Listener) -> bool:
    """Whether somebody who connects to the host may reach this listener instead of a server of ours.

    A listener on a wildcard serves every address; so would ours.
    """
    if host in _WILDCARDS or listener.address in _WILDCARDS:
        return True
    try:
        return listener.address in {str(address[0]) for *_, address in _addresses(host, 0)}
    except OSError:
        return False


def _same_family(host: str, listener: Listener) -> bool:
    """Whether the listener has an address of the host's own families: in the way, not beside it."""
    if listener.address == "::":
        # It may serve IPv4 too; had it done so, the bind would have failed on Linux.
        return ":" in host or not host
    try:
        wanted = {row[0] for row in _addresses(host, 0)}
    except OSError:
        return True
    return (socket.AF_INET6 if listener.family == "IPv6" else socket.AF_INET) in wanted


def _held(host: str, port: int, holders: Sequence[Listener], secrets: frozenset[str]) -> Finding:
    seen = next((listener for listener in holders if listener.pid is not None), None)
    notes: list[str] = []
    evidence: tuple[EvidenceLine, ...] = ()
    remedies: list[Remedy] = []
    if seen is not None and seen.pid is not None:
        holder = describe_holder(seen.pid, secrets)
        title = f"port {port} is held by {holder.words}"
        evidence = (EvidenceLine("port", None, f"pid {seen.pid} listens at {_place(seen.address, port)}"),)
        notes += holder.notes
        remedies += holder.remedies
    else:
        title = f"port {port} is in use at {_place(host, port)}"
        notes.append(
            "its holder cannot be seen from here: another user, another container, or no listener at all"
        )
    notes += _families(host, holders)
    free = _next_free_port(host, port)
    if free is not None:
        remedies.append(Remedy("take a free port, in the cell", f"port = {free}", kind="cell"))
        remedies.append(Remedy("or on the line", f"--port {free}", kind="cell"))
    return Finding("port-in-use", title, _place(host, port), evidence, tuple(notes), tuple(remedies))


def _families(host: str, holders: Sequence[Listener]) -> list[str]:
    """Say which of a name's addresses is held, where the name has one of each family and only one is."""
    try:
        wanted = {str(address[0]) for *_, address in _addresses(host, 0)}
    except OSError:
        return []
    held = {listener.address for listener in holders}
    if len(wanted) < 2 or host in _WILDCARDS or not held or "::" in held:  # noqa: PLR2004 - of both families
        return []
    free = sorted(address for address in wanted if not any(_serves(one, address) for one in held))
    shown, taken = " and ".join(sorted(wanted)), " and ".join(sorted(held))
    return (
        [f"{host} is {shown}; the port is held at {taken} and free at {' and '.join(free)}"] if free else []
    )


def _serves(listening: str, address: str) -> bool:
    """Say whether a listener answers at an address: 0.0.0.0 serves IPv4 alone."""
    return listening == address or (listening in _WILDCARDS and ":" not in address)


def _unusable(host: str, port: int, refusal: OSError) -> Finding:
    if refusal.errno == errno.EACCES:
        free = _next_free_port(host, 8000)
        return Finding(
            "port-permission",
            f"port {port} may be bound by privileged processes only",
            _place(host, port),
            notes=("ports below 1024 are the system's",),
            remedies=(Remedy("take a port above 1023, in the cell", f"port = {free or 8000}", kind="cell"),),
        )
    words = refusal.strerror or str(refusal)
    return Finding(
        "bind-address",
        f"{host} is no address of this machine: {words}",
        host,
        remedies=(
            Remedy("bind this machine's own address, in the cell", 'host = "127.0.0.1"', kind="cell"),
            Remedy("or all of its addresses", 'host = "0.0.0.0"', kind="cell", confidence=0.5),
        ),
    )


def _failed(finding: Finding) -> CheckResult:
    return CheckResult("fail", finding.title, finding)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
