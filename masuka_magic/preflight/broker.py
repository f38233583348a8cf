"""Look whether the Redis or the message broker that the backend will see can be reached.

Only what it will certainly see: REDIS_URL, CELERY_BROKER_URL, CELERY_RESULT_BACKEND, from its environment, else
from `.env` in its folder. A backend may do without, so the worst verdict is a warning.
"""

from __future__ import annotations

import queue
import shutil
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from masuka_magic.config.dotenv import statements, values
from masuka_magic.config.world import read_small_file
from masuka_magic.diagnosis.postgres_remedies import is_local
from masuka_magic.preflight.addresses import look_up, open_connection, words_of
from masuka_magic.preflight.check import Check, CheckContext, CheckLayer, CheckResult
from masuka_magic.preflight.here import this_machine
from masuka_magic.preflight.redis_findings import (
    Seen,
    judge,
    no_tls,
    refusal,
    start_redis,
    unknown_host,
    unreadable,
)
from masuka_magic.preflight.redis_talk import HandshakeError, RedisUrl, parse_redis_url, talk

if TYPE_CHECKING:
    from masuka_magic.config.model import StartConfig

LIMIT_S = 1.5

_REDIS = frozenset({"redis", "rediss", "unix", "redis+socket", "socket"})
_AMQP = {"amqp": 5672, "amqps": 5671, "pyamqp": 5672, "librabbitmq": 5672}
_VARIABLES = {
    "REDIS_URL": _REDIS,
    "CELERY_BROKER_URL": _REDIS | _AMQP.keys(),
    "CELERY_RESULT_BACKEND": _REDIS,
}
#: From this version on redis-py logs in by HELLO, which a server without a password accepts with one.
_REDIS_PY_OF_RESP3 = 8


class Source(NamedTuple):
    """One URL, and where the backend will find it: `REDIS_URL`, `REDIS_URL in .env`."""

    variable: str
    place: str
    url: str


def broker_checks(config: StartConfig, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Return the check named `redis` where the backend will see such a URL, else nothing.

    `environ` is the whole environment that the backend will have.
    """
    sources = _sources(config.cwd, environ)
    return (BrokerCheck(sources),) if sources else ()


class BrokerCheck:
    """Ask every URL at the same time; `limit_s` is for all together."""

    name = "redis"
    requires: tuple[str, ...] = ()

    def __init__(self, sources: tuple[Source, ...], *, limit_s: float = LIMIT_S) -> None:
        self._sources = sources
        self._limit_s = limit_s

    def run(self, context: CheckContext) -> CheckResult:
        deadline = time.monotonic() + self._limit_s
        urls = list(dict.fromkeys(source.url for source in self._sources))
        answers: queue.SimpleQueue[tuple[str, Seen]] = queue.SimpleQueue()
        for url in urls:
            threading.Thread(
                target=lambda url=url: answers.put((url, _look(url, context, deadline))),
                name="masuka-broker",
                daemon=True,
            ).start()
        seen: dict[str, Seen] = {}
        while len(seen) < len(urls) and not context.cancelled.is_set():
            try:
                url, one = answers.get(timeout=0.05)
            except queue.Empty:
                if time.monotonic() > deadline + 0.2:
                    break
                continue
            seen[url] = one
        if context.cancelled.is_set():
            return CheckResult("skip", "interrupted")
        late = Seen("warn", f"no answer within {self._limit_s:g} s")
        return _result([(source, seen.get(source.url, late)) for source in self._sources])


def _sources(cwd: str, environ: Mapping[str, str]) -> tuple[Source, ...]:
    """Find the URLs; a variable of the environment hides the one in `.env`, an empty one too."""
    in_file: Mapping[str, str] = {}
    if any(name not in environ for name in _VARIABLES):
        try:
            text = read_small_file(str(Path(cwd, ".env")))
        except (OSError, UnicodeDecodeError):
            text = None  # What cannot be read here is the configuration's or the backend's to tell.
        in_file = values(statements(text), environ, file_first=False) if text else {}
    found = []
    for name, schemes in _VARIABLES.items():
        url = (environ[name] if name in environ else in_file.get(name, "")).strip()
        if url.partition("://")[0].lower() in schemes and "://" in url:
            found.append(Source(name, name if name in environ else f"{name} in .env", url))
    return tuple(found)


def _result(seen: list[tuple[Source, Seen]]) -> CheckResult:
    layers = tuple(CheckLayer(source.variable, one.verdict, one.text, one.seconds) for source, one in seen)
    wrong = [(source, one) for source, one in seen if one.verdict == "warn"]
    by_text: dict[str, list[str]] = {}
    for source, one in wrong or seen:
        by_text.setdefault(one.text, []).append(source.variable)
    text = "; ".join(f"{text} ({', '.join(names)})" for text, names in by_text.items())
    found = next(((source, one.finding) for source, one in wrong if one.finding is not None), None)
    finding = None
    if found is not None:
        notes = (*found[1].notes, f"the URL comes from {found[0].place}")
        finding = replace(found[1], notes=notes)
    return CheckResult("warn" if wrong else "pass", text, finding, layers=layers)


def _look(url: str, context: CheckContext, deadline: float) -> Seen:
    scheme = url.partition("://")[0].lower()
    if scheme in _AMQP:
        return _look_at_amqp(url, _AMQP[scheme], context, deadline)
    parsed = parse_redis_url(url)
    if parsed is None:
        return unreadable()
    addresses = (parsed.path,) if parsed.path else _addresses(parsed.host, context, deadline)
    if isinstance(addresses, str):
        return unknown_host("Redis", parsed.host, addresses)
    return _look_at_redis(parsed, addresses, deadline, context.config.python)


def _look_at_redis(url: RedisUrl, addresses: tuple[str, ...], deadline: float, python: str) -> Seen:
    try:
        answer = talk(url, addresses, deadline)
    except HandshakeError:
        return no_tls(url, "no answer to the TLS handshake", untrusted=False)
    except ssl.SSLCertVerificationError as error:
        return no_tls(url, error.verify_message, untrusted=True)
    except ssl.SSLError as error:
        return no_tls(url, error.reason or str(error), untrusted=False)
    except OSError as error:
        fix = None
        if url.path or is_local(url.host):
            fix = start_redis(this_machine(), installed=shutil.which("redis-server") is not None)
        return refusal("Redis", url.place, error, words_of(error), fix)
    return judge(url, answer, resp3=_speaks_resp3(python))


def _look_at_amqp(url: str, usual: int, context: CheckContext, deadline: float) -> Seen:
    """Reach the port of a RabbitMQ; of several (Celery parts them by `;`) one that answers is enough."""
    seen: Seen | None = None
    for one in url.split(";"):
        try:
            parts = urlsplit(one.strip())
            host, port = parts.hostname or "localhost", parts.port or usual
        except ValueError:
            seen = seen or unreadable("AMQP")
            continue
        place = f"{f'[{host}]' if ':' in host else host}:{port}"
        addresses = _addresses(host, context, deadline)
        if isinstance(addresses, str):
            seen = seen or unknown_host("the broker", host, addresses)
            continue
        begun = time.monotonic()
        try:
            open_connection(addresses, port, deadline).close()
        except OSError as error:
            seen = seen or refusal("the broker", place, error, words_of(error), None)
            continue
        text = f"the broker listens at {place}; a login was not tried"
        return Seen("pass", text, None, time.monotonic() - begun)
    return seen or unreadable("AMQP")


def _addresses(host: str, context: CheckContext, deadline: float) -> tuple[str, ...] | str:
    return look_up(host, max(0.05, deadline - time.monotonic()), context.cancelled)


def _speaks_resp3(python: str) -> bool | None:
    """Whether the backend's redis-py logs in by HELLO; None where it has none."""
    from masuka_magic.preflight.interpreter import distributions

    major = distributions(python).get("redis", "").partition(".")[0]
    return int(major) >= _REDIS_PY_OF_RESP3 if major.isdigit() else None
