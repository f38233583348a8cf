"""An exception as data, whoever saw it: the bootstrap in the child, or a parser of log text.

This room knows neither where the exception was read nor what it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a traceback; `source` is its line of code without the indentation, empty when unknown."""

    file: str
    line: int
    function: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class SyntaxSpot:
    """Where a SyntaxError points; `offset` counts characters from 1, 0 when unknown."""

    file: str
    line: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class ExceptionReport:
    """One exception of a chain. `link` says how the one before it in the chain relates to this one.

    `module` and `type` are those of the class; `name` is ImportError.name, NameError.name or AttributeError.name;
    `path` is ImportError.path; `frames` run from the outermost to the one that raised; `exceptions` are the
    members of an exception group, each a chain of its own.
    """

    type: str
    module: str
    message: str
    frames: tuple[Frame, ...] = ()
    notes: tuple[str, ...] = ()
    name: str | None = None
    path: str | None = None
    syntax: SyntaxSpot | None = None
    errno: int | None = None
    filename: str | None = None
    link: Literal["cause", "context"] | None = None
    exceptions: tuple[tuple[ExceptionReport, ...], ...] = ()
