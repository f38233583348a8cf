"""Name what a Redis, or a broker, answered: words in, one finding out. Pure.

The words are those of Redis 6 and 7 (acl.c, networking.c, db.c); earlier ones are near them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.diagnosis.postgres_url import HIDDEN
from masuka_magic.diagnosis.postgres_words import visible

if TYPE_CHECKING:
    from masuka_magic.diagnosis.machine import Machine
    from masuka_magic.preflight.check import Verdict
    from masuka_magic.preflight.redis_talk import RedisAnswer, RedisUrl


class Seen(NamedTuple):
    """What came of one URL. `seconds`: until the first reply."""

    verdict: Verdict
    text: str
    finding: Finding | None = None
    seconds: float = 0.0


def judge(url: RedisUrl, answer: RedisAnswer, *, resp3: bool | None) -> Seen:
    """Read the replies: the first that is an error says what is wrong.

    `resp3`: the backend's client logs in by HELLO; None where that is not known.
    """
    if not answer.replies:
        return _warning(_no_redis(url, answer))
    login, chosen, ping = (answer.replies.get(name, "") for name in ("AUTH", "SELECT", "PING"))
    spare = "without any password" in login or "no password is set" in login
    if spare and resp3 is not False:
        login = "+"  # A client that logs in by HELLO, or tries again without it, is let in.
    wrong = _login(url, login, spare=spare) or _login(url, chosen) or _login(url, ping)
    wrong = wrong or _database(url, chosen) or _service(url, ping)
    if wrong is not None:
        return _warning(wrong)
    place = url.path or f"{url.place}/{url.database}"
    text = f"{f'Redis {answer.version}'.strip()} at {place}"
    if spare:
        text += "; it asks for no password, the URL gives one"
    else:
        text += f", answers in {answer.seconds * 1000:.1f} ms"
    return Seen("pass", text, None, answer.seconds)


def _login(url: RedisUrl, reply: str, *, spare: bool = False) -> Finding | None:
    """Read who is let in: of every reply, since all of them are refused to whom is not."""
    said = visible(reply.removeprefix("-"))
    if spare and reply.startswith("-"):
        title = f"Redis at {url.place} has no password, and the URL gives one, which this redis-py refuses"
        fix = Remedy("leave the password out of the URL", f"redis://{url.place}/{url.database}", "edit")
        return finding("redis-auth", title, url.place, said, fix)
    if reply.startswith(("-WRONGPASS", "-ERR invalid password")):
        who = f"user {url.user}" if url.user else "this password"
        title = f"Redis at {url.place} rejected {who}"
        note = "Redis does not say whether the user or the password is wrong" if url.user else ""
        fix = Remedy("correct user and password in the URL")
        return finding("redis-auth", title, url.place, said, fix, note=note)
    if reply.startswith("-NOAUTH"):
        title = f"the URL gives no password, and Redis at {url.place} asks for one"
        fix = Remedy("put it into the URL", f"redis://:{HIDDEN}@{url.place}/{url.database}", "edit")
        return finding("redis-auth", title, url.place, said, fix)
    return None


def _database(url: RedisUrl, reply: str) -> Finding | None:
    if not reply.startswith("-"):
        return None
    title = f"Redis at {url.place} does not give database {url.database}: {_reason(reply)}"
    return finding("redis-database", title, str(url.database), visible(reply[1:]), Remedy("name database 0"))


def _service(url: RedisUrl, reply: str) -> Finding | None:
    """Read the answer to PING; a user who may not ping is let in all the same."""
    if not reply.startswith("-") or reply.startswith("-NOPERM"):
        return None
    title = f"Redis at {url.place} does not serve: {_reason(reply)}"
    if reply.startswith("-LOADING"):
        wait = Remedy("wait a moment and start again", kind="wait", safe=True)
        return finding("redis-loading", title, url.place, visible(reply[1:]), wait)
    return finding("redis-refused", title, url.place, visible(reply[1:]))


def unreadable(kind: str = "Redis") -> Seen:
    """Say what a URL should look like; the URL itself may hold a password."""
    expected = {"Redis": "redis://user:password@host:6379/0, where 0 is the number of a database"}
    notes = (f"expected {expected.get(kind, 'amqp://user:password@host:5672/')}",)
    return _warning(Finding("bad-url", f"the {kind} URL cannot be read", f"{kind} URL", notes=notes))


def unknown_host(what: str, host: str, why: str) -> Seen:
    """Say that a name stands for no address."""
    shown = visible(host)
    title = f"the host of {what}, {shown}, cannot be found: {why}"
    note = "a name without a dot is often a service of Docker Compose, known only in its network"
    fix = Remedy("correct the host in the URL")
    return _warning(finding("redis-dns", title, shown, why, fix, note="" if "." in host else note))


def refusal(what: str, place: str, error: OSError, words: str, start: Remedy | None) -> Seen:
    """Say why no connection was made: `words` are the system's; `start` starts a server of this machine."""
    shown = visible(place)
    fix = start or Remedy(f"start it at {shown}, or correct the host and the port in the URL")
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return _warning(
            finding("redis-refused", f"{what} refused the connection at {shown}", shown, words, fix)
        )
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        words = "the connection was closed without an answer"
        note = "a server that speaks TLS does so with a client that does not: rediss://"
        title = f"no answer from {what} at {shown}: {words}"
        return _warning(finding("redis-unreachable", title, shown, words, note=note))
    title = f"no answer from {what} at {shown}: {words}"
    fix = Remedy("correct the host and the port in the URL")
    return _warning(finding("redis-unreachable", title, shown, words, fix))


def no_tls(url: RedisUrl, words: str, *, untrusted: bool) -> Seen:
    """Say that TLS was asked for and did not come about."""
    if untrusted:
        title = f"the certificate of Redis at {url.place} cannot be verified: {words}"
        fix = Remedy("name the authority's certificate in the URL", "ssl_ca_certs=/path/to/ca.crt", "edit")
    else:
        title = f"the URL asks for TLS, and Redis at {url.place} does not speak it"
        fix = Remedy("write redis:// instead of rediss://", f"redis://{url.place}/{url.database}", "edit")
    return _warning(finding("redis-tls", visible(title), url.place, words, fix))


def start_redis(here: Machine, *, installed: bool) -> Remedy:
    """Start the server of this machine, or install it where there is none."""
    root = "" if here.root or not here.sudo else "sudo "
    command = "redis-server --daemonize yes"
    text = "start the server"
    if not installed and here.brew:
        text, command = "install Redis and start it", "brew install redis && brew services start redis"
    elif not installed and here.apt:
        text, command = "install Redis and start it", f"{root}apt-get install -y redis-server && {command}"
    elif not installed:
        return Remedy("start the Redis server")
    if here.colab:
        return Remedy(text, f"!{command}", "cell")
    return Remedy(text, command)


def _no_redis(url: RedisUrl, answer: RedisAnswer) -> Finding:
    if answer.foreign:
        title = f"the server at {url.place} does not speak Redis's protocol"
        fix = Remedy("name the port of Redis in the URL", kind="edit")
        return finding("redis-not-redis", title, url.place, visible(answer.foreign), fix)
    title = f"the server at {url.place} closed the connection without an answer"
    note = "a server that speaks TLS does so with a client that does not: rediss://"
    return finding("redis-not-redis", title, url.place, "", note=note if not url.tls else "")


def _reason(reply: str) -> str:
    """Keep the words of an error: `-ERR DB index is out of range` is `DB index is out of range`."""
    code, _, words = reply.removeprefix("-").partition(" ")
    return visible(words if code.isupper() and words else reply.removeprefix("-"))


def _warning(wrong: Finding) -> Seen:
    return Seen("warn", wrong.title, wrong)


def finding(code: str, title: str, culprit: str, words: str, *fixes: Remedy, note: str = "") -> Finding:
    """Make a finding whose evidence is what the server, or the system, said."""
    evidence = (EvidenceLine("redis", None, words),) if words else ()
    return Finding(code, visible(title), visible(culprit), evidence, (note,) if note else (), fixes)
