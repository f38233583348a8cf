"""Quantities as people read them: durations and sizes, always in the same few forms."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_STEP = 1_000


def duration(seconds: float) -> str:  # noqa: PLR0911 - one form a line
    """Write a duration with two figures that matter: 12 ms, 1.3 s, 14 s, 2 min 5 s, 3 h 10 min."""
    if seconds < 0.0005:  # noqa: PLR2004 - half a millisecond, which rounds to none
        return "<1 ms"
    if seconds < 0.9995:  # noqa: PLR2004 - what rounds to 1,000 ms is written as 1.0 s
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 9.95:  # noqa: PLR2004 - what rounds to 10.0 s is written as 10 s
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    whole = round(seconds / _MINUTE) * _MINUTE
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def size(count: float) -> str:
    """Write a number of bytes in decimal units: 812 bytes, 448 MB, 1.2 GB."""
    if count < _STEP:
        return f"{count:.0f} bytes" if count != 1 else "1 byte"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= _STEP
        if count < _STEP - 0.5 or unit == "TB":
            return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"  # noqa: PLR2004 - as above
    raise AssertionError


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
