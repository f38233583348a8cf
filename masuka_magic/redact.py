"""Masks secrets in text that is about to be shown or stored.

Two nets: the values that are known to be secret, wherever they stand, and the shapes that secrets have in
logs. This room knows no configuration, no log and no view; it is pure, and linear in the length of the text:
a foreign program chooses that text. No pattern here can look at a character more than a bounded number of
times (runs are consumed possessively, and every place where a pattern may begin lies outside the run that the
one before it read).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MASK = "•••"
SHORTEST_SECRET = 4

# Values that would blank out half a log if they were masked, and that protect nothing.
_TRIVIAL = frozenset(
    {"true", "false", "none", "null", "auto", "default", "debug", "info", "warning", "error", "development"}
    | {"production", "staging", "test", "local", "localhost", "127.0.0.1", "postgres", "postgresql"}
)
_DIGITS_OF_A_PORT = 5

# Compared with the words of a name: HF_TOKEN, hfToken and APIKEY are secret, TOKENIZERS_PARALLELISM is not.
_SECRET_WORDS = frozenset(
    {"token", "tokens", "secret", "secrets", "password", "passwords", "passwd", "pwd", "passphrase", "key"}
    | {"keys", "apikey", "credential", "credentials", "pat", "jwt", "dsn"}
)
_SECRET_ENDS = ("token", "secret", "password", "passwd", "apikey", "accesskey", "secretkey", "privatekey")
_NOT_SECRET = frozenset({"PWD", "OLDPWD", "MAX_TOKENS"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# In a configuration that is stored, `$NAME` stands for a secret and is none itself.
_NAME = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})")

_URL_PASSWORD = re.compile(r"(://[^\s:/@'\"<>]*+:)([^\s/'\"<>]*)(?=@)")
_FIXED_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{16,}"
    r"|sk-[A-Za-z0-9_-]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])"
    r")"
)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+")
# Without its end (a log may be cut) a key is its long lines.
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)"
    r"(?:([^-]*+)-----END [A-Z ]{0,30}PRIVATE KEY-----|((?:\s{1,4}[A-Za-z0-9+/=]{16,}+)++))"
)
# "Bearer authentication failed" is a sentence: a token is long or has a digit.
_BEARER = re.compile(
    r"(?i:(bearer\s{1,4}|authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?basic\s{1,4}))"
    r"(?=[A-Za-z._~+/=-]*+[0-9]|[A-Za-z._~+/=-]{20})([A-Za-z0-9._~+/=-]{4,}+)"
)
# `password=…` and `"token": "…"`, but not `token: Optional[str] = None`, nor code that only names the place
# of a secret, which a finding may have to show.
_PAIR = re.compile(
    r"((?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key"
    r"|credentials?)(?:\\?[\"']\s{0,4}[:=]|\s{0,4}=(?!=))\s{0,4})"
    r"(?!(?:None|null|True|False|true|false)\b|(?:os|self|settings|config|cfg|args)\.[A-Za-z_])"
    r"(\\?\"(?:[^\"\\\n]|\\[^\"\n])*+(?:\\?\")?|\\?'(?:[^'\\\n]|\\[^'\n])*+(?:\\?')?|\$\{\w{1,99}\}"
    r"|[^\s,;&\"'()\[\]{}\\]++)",
    re.IGNORECASE,
)
# What a text must hold for a pattern to be tried: finding a word is ten times as fast as trying a pattern
# everywhere.
_FIXED_HINTS = ("hf_", "sk-", "gh", "github_pat_", "glpat-", "xox", "AIza", "AKIA", "ASIA")
_BEARER_HINTS = ("bearer", "authorization")
_PAIR_HINTS = ("password", "passwd", "passphrase", "pwd", "secret", "token", "key", "credential")


def is_secret_name(name: str) -> bool:
    """Say whether a variable of this name holds a secret, by the words that the name is made of."""
    if name.upper() in _NOT_SECRET:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDS) for word in words)


def is_worth_masking(value: str) -> bool:
    """Say whether masking this value everywhere protects more than it hides."""
    text = value.strip()
    if len(text) < SHORTEST_SECRET or text.lower() in _TRIVIAL:
        return False
    return not (text.isdigit() and len(text) <= _DIGITS_OF_A_PORT)


def url_passwords(text: str) -> frozenset[str]:
    """Find the passwords of the URLs in a text, as they stand and percent-decoded."""
    found = {match[2] for match in _URL_PASSWORD.finditer(text)} if "://" in text else set()
    if not found:
        return frozenset()
    from urllib.parse import unquote

    return frozenset(found | {unquote(password) for password in found})


class Redactor:
    """Replaces secrets by a mask. With `keep_names` a `$NAME` where a secret could stand is left: it says
    where the secret comes from, in a configuration that is stored.

    Values that are too short or too common to be secrets are ignored. A value is also found percent-encoded,
    with its quotes and backslashes escaped, and, when it has several lines, line by line.
    """

    def __init__(self, secrets: Iterable[str] = (), *, keep_names: bool = False) -> None:
        self._secrets = tuple(sorted({form for secret in secrets for form in _forms(secret)}))
        self._keep_names = keep_names

    def text(self, text: str) -> str:
        """Return the text with every secret masked; its line breaks stay where they are."""
        text = self._mask_values(text)
        if "://" in text:
            text = _URL_PASSWORD.sub(self._mask_second, text)
        if "eyJ" in text:
            text = _JWT.sub(MASK, text)
        if "PRIVATE KEY" in text:
            text = _PRIVATE_KEY.sub(_mask_lines, text)
        if any(hint in text for hint in _FIXED_HINTS):
            text = _FIXED_SHAPES.sub(MASK, text)
        lowered = text.lower()
        if any(hint in lowered for hint in _BEARER_HINTS):
            text = _BEARER.sub(self._mask_second, text)
        if any(hint in lowered for hint in _PAIR_HINTS):
            text = _PAIR.sub(self._mask_second, text)
        return text

    def _mask_second(self, match: re.Match[str]) -> str:
        value = match[2]
        if not value.strip("\\\"'") or (self._keep_names and _NAME.fullmatch(value)):
            return match[0]
        quote = value[:2] if value[0] == "\\" else value[:1]
        if quote[-1] not in "\"'":
            return match[1] + MASK
        return f"{match[1]}{quote}{MASK}{quote if value.endswith(quote) else ''}"

    def _mask_values(self, text: str) -> str:
        """Mask the known values. Of two that overlap the union is masked: no end of one is left over."""
        spans = sorted(span for secret in self._secrets for span in _places(text, secret))
        if not spans:
            return text
        pieces: list[str] = []
        done = 0
        start, end = spans[0]
        for next_start, next_end in [*spans[1:], (len(text) + 1, 0)]:
            if next_start < end:
                end = max(end, next_end)
                continue
            pieces += text[done:start], MASK
            done = end
            start, end = next_start, next_end
        pieces.append(text[done:])
        return "".join(pieces)


def _places(text: str, secret: str) -> Iterator[tuple[int, int]]:
    at = text.find(secret)
    while at >= 0:
        yield at, at + len(secret)
        at = text.find(secret, at + len(secret))


def _forms(secret: str) -> Iterator[str]:
    if not is_worth_masking(secret):
        return
    from urllib.parse import quote

    lines = [line.strip() for line in secret.splitlines()] if "\n" in secret.strip() else []
    # A line of a key is long; a short one (a brace, a header) stands in other texts too.
    for value in (secret.strip(), *(line for line in lines if len(line) >= 4 * SHORTEST_SECRET)):
        yield value
        yield quote(value, safe="")
        yield repr(value)[1:-1]
        yield value.replace("\\", "\\\\").replace('"', '\\"')


def _mask_lines(match: re.Match[str]) -> str:
    return match[1] + MASK + "\n" * match[0].count("\n")
