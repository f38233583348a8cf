"""The form in which a configuration may lie on a disk: as the user wrote it, names not filled in, secrets
masked.

It is a table again and is accepted as input, so that a restart after an adoption can resolve the names anew.
A mask in it stands for a secret that was written out: it has to be given again. Nothing is read or written
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from masuka_magic.config.schema import KEYS, Path
from masuka_magic.redact import MASK, Redactor, is_secret_name

if TYPE_CHECKING:
    from masuka_magic.config.layers import Layer

_REFERENCES = re.compile(r"(\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\}))")


def stored_form(merged: Layer, secrets: Iterable[str]) -> dict[str, Any]:
    """Write the settings as one table, ready for JSON."""
    redactor = Redactor(secrets, keep_names=True)
    table: dict[str, Any] = {}
    for path in sorted(merged, key=_rank):
        value = merged[path].value
        is_secret = path[0] == "env" and is_secret_name(path[1])
        masked = _names_alone(value) if is_secret else _masked(value, redactor)
        if len(path) == 1:
            table[path[0]] = masked
        else:
            table.setdefault(path[0], {})[path[1]] = masked
    return table


def _masked(value: Any, redactor: Redactor) -> Any:  # noqa: ANN401 - any value of a setting
    match value:
        case str():
            return redactor.text(value)
        case list() | tuple():
            return [_masked(inner, redactor) for inner in value]
        case dict():
            return {name: _masked(inner, redactor) for name, inner in value.items()}
        case _:
            return value


def _names_alone(value: str) -> str:
    """Mask all but the names in a secret variable's value, too short for a log's mask or not."""
    if value.strip().lower() in {"", "true", "false", "none"}:
        return value
    parts = _REFERENCES.split(value)
    return "".join(part if at % 2 else MASK if part else "" for at, part in enumerate(parts))


def _rank(path: Path) -> tuple[int, str]:
    """Order the settings as the key table does, variables by name."""
    order = list(KEYS)
    return order.index(("env",) if path[0] == "env" else path), path[-1]
