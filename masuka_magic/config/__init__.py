"""What a start was asked to be: from the line, the cell, masuka.toml and Python to one frozen StartConfig.

Everything here decides and nothing acts: files, environment, notebook variables and Colab's secrets come in
through World. Bad input ends here with a ConfigError of one line. The names are imported when they are first
used: loading the extension needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masuka_magic.config.line import asks_for_help, line_help
    from masuka_magic.config.model import ConfigError, Database, Health, StartConfig, StartOptions, Target
    from masuka_magic.config.parse import read_config
    from masuka_magic.config.world import World

__all__ = [
    "ConfigError",
    "Database",
    "Health",
    "StartConfig",
    "StartOptions",
    "Target",
    "World",
    "asks_for_help",
    "line_help",
    "read_config",
]

_ROOM_OF = {"World": "world", "asks_for_help": "line", "line_help": "line", "read_config": "parse"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the types are in the TYPE_CHECKING block above
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOM_OF.get(name, 'model')}"), name)


def __dir__() -> list[str]:
    return __all__
