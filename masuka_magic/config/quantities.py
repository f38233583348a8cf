"""Numbers, with and without a unit, against their keys: ports, counts, times, sizes.

Each function returns the value in its kind's form or raises UnfitError. Booleans are no numbers here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from masuka_magic.config.wording import UnfitError

if TYPE_CHECKING:
    from masuka_magic.config.schema import Key

MINUTE_S = 60

_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([A-Za-z]{1,10})")
_SECONDS_OF = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), MINUTE_S),
    **dict.fromkeys(("h", "hour", "hours"), 60 * MINUTE_S),
    **dict.fromkeys(("d", "day", "days"), 24 * 60 * MINUTE_S),
}
_BYTES_OF = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def port(key: Key, value: object) -> int | str:
    """Return the number, or "auto"."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    wants = f'a whole number from {key.least:.0f} to {key.most:.0f} or "auto"'
    if not isinstance(value, int) or isinstance(value, bool) or not key.least <= value <= key.most:
        raise UnfitError(wants)
    return value


def count(key: Key, value: object) -> int:
    """Return a whole number within the key's range."""
    if not isinstance(value, int) or isinstance(value, bool) or not key.least <= value <= key.most:
        raise UnfitError(f"a whole number from {key.least:.0f} to {key.most:.0f}")
    return value


def _quantity(value: object, unit: Mapping[str, float], bare: float | None) -> float | None:
    """Return the value in the base unit; None if it is no quantity. `bare` is the unit of a number without
    one.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and bare is not None:
        # An int beyond the range of float has no finite form and would raise OverflowError.
        amount = float(value) * bare if abs(value) < 10**300 else math.inf
        return amount if math.isfinite(amount) else None
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].lower() not in unit:
        return None
    return float(match[1]) * unit[match[2].lower()]


def seconds(key: Key, value: object) -> float:
    """Return seconds."""
    amount = _quantity(value, _SECONDS_OF, 1)
    if amount is None:
        raise UnfitError('seconds, or a text such as "40 s" or "2 min"')
    if not (key.least <= amount <= key.most) or (key.above and amount == key.least):
        raise UnfitError(f"{'more than ' if key.above else ''}{key.least:g} to {key.most:.0f} seconds")
    return amount


def minutes(key: Key, value: object) -> float | str:
    """Return minutes, or "never"."""
    if isinstance(value, str) and value.strip().lower() == "never":
        return "never"
    amount = _quantity(value, _SECONDS_OF, MINUTE_S)
    if amount is None:
        raise UnfitError('minutes, a text such as "10 min", or "never"')
    if not key.least <= amount / MINUTE_S <= key.most:
        raise UnfitError(f'{key.least:g} to {key.most:.0f} minutes, or "never"')
    return amount / MINUTE_S


def size(key: Key, value: object) -> int:
    """Return a number of bytes."""
    amount = _quantity(value, _BYTES_OF, 1)
    if amount is None or isinstance(value, float):
        raise UnfitError('a number of bytes, or a text such as "500 MB"')
    if not key.least <= amount <= key.most:
        raise UnfitError("from 100 kB to 1000 TB")
    return int(amount)
