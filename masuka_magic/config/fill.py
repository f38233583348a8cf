"""Fills in `$NAME` and `${NAME}`, and remembers which of the values are secrets.

Names are looked up in the notebook's variables, the environment, Colab's secrets, in this order, and each is
asked for once. `$$` is a dollar sign; any other dollar sign stands for itself. What this module is given has
been read already: it knows no TOML and no key.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from masuka_magic.config.model import ConfigError
from masuka_magic.config.schema import nearest
from masuka_magic.config.wording import described, shown
from masuka_magic.redact import is_secret_name, is_worth_masking

if TYPE_CHECKING:
    from masuka_magic.config.layers import Setting
    from masuka_magic.config.world import World

_REFERENCE = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([^}$]*)(\}?))")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TRUNK = re.compile(r"://[^/@?#]*$")

# Values of these names tell where and as whom something runs; masking them would blank out paths in every
# traceback.
_OPEN_WORDS = frozenset(
    {
        "dir",
        "env",
        "folder",
        "home",
        "host",
        "hostname",
        "lang",
        "level",
        "logname",
        "mode",
        "name",
        "path",
        "port",
    }
    | {"pwd", "pythonpath", "region", "shell", "term", "tmpdir", "user", "username", "version"}
)


class Filler:
    """Fills in texts for one start. `secrets` grows by every value that has to be masked from now on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._values: dict[str, str] = {}
        self.secrets: set[str] = set()

    def fill(self, text: str, setting: Setting) -> str:
        """Return the text with its names filled in. Raises ConfigError at the setting's place for an unset
        name.

        Inside the user:password part of a URL a value is given the percent-encoding that it needs there: a
        password may hold an `@`. What is encoded already stays as it is.
        """

        def value(match: re.Match[str]) -> str:
            dollar, bare, braced, closed = match.groups()
            if dollar:
                return "$"
            name = bare if bare is not None else braced
            where = f"{setting.place}: {setting.label}"
            if bare is None and not (closed and _IDENTIFIER.fullmatch(braced)):
                found = f"${{{shown(braced, 24)}{closed}"
                raise ConfigError(f"{where} holds {found}, write ${{NAME}}, or $$ for a dollar sign")
            filled_in = self._look_up(name, where)
            return _encoded(filled_in) if _is_in_userinfo(match) else filled_in

        filled = _REFERENCE.sub(value, text)
        if "\0" in filled:
            where = f"{setting.place}: {setting.label}"
            raise ConfigError(f"{where} would hold a NUL character, which no program can be given")
        return filled

    def _look_up(self, name: str, where: str) -> str:
        if name not in self._values:
            self._values[name] = self._ask(name, where)
        return self._values[name]

    def _ask(self, name: str, where: str) -> str:
        world = self._world
        if name in world.namespace:
            value = world.namespace[name]
            text = _as_text(value)
            if text is None:
                found = f"{described(value)} in the notebook"
                raise ConfigError(f"{where} needs ${name}, which is {found}, not a text, number or path")
            self._note(name, text, is_open=not isinstance(value, str))
            return text
        if name in world.environ:
            self._note(name, world.environ[name])
            return world.environ[name]
        try:
            secret = world.secret(name)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if secret is None:
            raise ConfigError(f"{where} needs ${shown(name)}, which is set nowhere{self._nearest_set(name)}")
        self._note(name, secret, is_open=False, is_stored_secret=True)
        return secret

    def _note(self, name: str, text: str, *, is_open: bool = False, is_stored_secret: bool = False) -> None:
        words = name.lower().split("_")
        is_open = (is_open or words[-1] in _OPEN_WORDS) and not is_secret_name(name)
        if (is_stored_secret or not is_open) and is_worth_masking(text):
            self.secrets |= {text, _encoded(text)}

    def _nearest_set(self, name: str) -> str:
        notebook = (key for key, value in self._world.namespace.items() if _as_text(value) is not None)
        candidates = {key for key in (*notebook, *self._world.environ) if not key.startswith("_")}
        close = nearest(name, sorted(candidates))
        return f", did you mean ${shown(close)}?" if close else ""


def _as_text(value: object) -> str | None:
    """Return a variable as text, None for what has no obvious one. No method of a foreign class is called."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return str.__str__(value)
        case int():
            return int.__repr__(value) if abs(value) < 10**300 else None
        case float():
            return float.__repr__(value)
        case PurePath():
            return str(value)
        case _:
            return None


def _is_in_userinfo(match: re.Match[str]) -> bool:
    """Say whether a reference stands between the `://` and the `@` of a URL."""
    host_follows = "@" in re.split(r"[/?#\s]", match.string[match.end() :], maxsplit=1)[0]
    return host_follows and _TRUNK.search(match.string[: match.start()]) is not None


def _encoded(text: str) -> str:
    """Percent-encode what would end the user:password part of a URL, and a `%` that encodes nothing."""
    from urllib.parse import quote

    text = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(text, safe="%!$&'()*+,;=:~._-")
