"""Samples, what they come to, and the table that is printed. Pure: nothing is measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: On a machine that does nothing else the slowest start of a bare server takes this much of the fastest.
STEADY = 1.3


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, its value, and the bound where the project promises one.

    `goal` is a bound that nothing has to keep yet. `spread` holds the lowest and the highest sample.
    """

    name: str
    value: float
    unit: str = "ms"
    bound: float | None = None
    goal: float | None = None
    spread: tuple[float, float] | None = None
    remark: str = ""

    @property
    def verdict(self) -> str:
        if self.bound is not None:
            return "pass" if self.value <= self.bound else "FAIL"
        if self.goal is not None:
            return "goal met" if self.value <= self.goal else "goal missed"
        return ""

    @property
    def missed(self) -> bool:
        return self.verdict == "FAIL"

    def cells(self) -> tuple[str, ...]:
        limit = self.bound if self.bound is not None else self.goal
        low_high = "" if self.spread is None else f"{self.spread[0]:,.0f} to {self.spread[1]:,.0f}"
        bound = "" if limit is None else f"{limit:,.0f} {self.unit}"
        name = f"{self.name} ({self.remark})" if self.remark else self.name
        return (name, f"{self.value:,.0f} {self.unit}", low_high, bound, self.verdict)


def milliseconds(
    name: str,
    seconds: Sequence[float],
    *,
    bound: float | None = None,
    goal: float | None = None,
    p95: bool = False,
    remark: str = "",
) -> Figure:
    """Make the figure of samples in seconds: their median or, with `p95`, their 95th percentile."""
    samples = [1000 * one for one in seconds]
    value = percentile(samples, 0.95) if p95 else statistics.median(samples)
    return Figure(name, value, "ms", bound, goal, (min(samples), max(samples)), remark)


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that this share of them does not exceed (nearest rank)."""
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def disturbed(figures: Sequence[Figure]) -> list[str]:
    """Name the floors that jumped: nothing of ours runs in them, so the machine was busy with something else."""
    return [
        figure.name
        for figure in figures
        if "floor" in figure.name and figure.spread and figure.spread[1] > STEADY * figure.spread[0]
    ]


def table(figures: Sequence[Figure]) -> str:
    """Write the figures as a Markdown table."""
    heads = ("figure", "measured", "lowest to highest", "at most", "")
    rows = [heads, *(figure.cells() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = [
        "| " + " | ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
