"""Durations and sizes have one form each."""

from __future__ import annotations

import pytest

from masuka_magic.quantities import duration, size


@pytest.mark.parametrize(
    ("expected", "seconds"),
    [
        ("<1 ms", 0),
        ("1 ms", 0.001),
        ("12 ms", 0.0121),
        ("60 ms", 0.06),
        ("999 ms", 0.9991),
        ("1.0 s", 0.9996),
        ("1.3 s", 1.3),
        ("9.9 s", 9.94),
        ("10 s", 9.96),
        ("14 s", 14.2),
        ("1 min", 59.6),
        ("2 min 5 s", 125),
        ("3 min", 180),
        ("1 h", 3_599.6),
        ("3 h 10 min", 11_400),
        ("2 d 1 h", 176_400),
    ],
)
def test_durations(expected: str, seconds: float) -> None:
    """Two figures that matter, in the units that people use."""
    assert expected == duration(seconds)


@pytest.mark.parametrize(
    ("expected", "count"),
    [
        ("0 bytes", 0),
        ("1 byte", 1),
        ("812 bytes", 812),
        ("1.2 kB", 1_234),
        ("448 MB", 448e6),
        ("1.0 GB", 999_700_000),
    ],
)
def test_sizes(expected: str, count: float) -> None:
    """Decimal units, as disks and clouds count."""
    assert expected == size(count)
