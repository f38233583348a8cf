"""When a backend counts as ready, how often to ask, and when nothing moves any more.

Pure: answers, samples and times come in as values. Who asks is prober.py, who waits is supervisor.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from masuka_magic.events import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from masuka_magic.config.model import Health

FIRST_GAP_S = 0.010
LONGEST_GAP_S = 0.250
# Each gap is a tenth of the waiting so far, so that a probe is late by at most a tenth of what it measures.
GAP_GROWTH = 1.1
#: A tree that uses less than this share of one core does not move.
IDLE_CPU = 0.05
#: Distinct log lines that are remembered to tell new text from repeated text.
REMEMBERED_LINES = 5_000
NAME_KEYS = ("app", "name", "title")

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer means ready; `text` says in one line what was asked and what came."""

    ready: bool
    text: str


def judge(answer: Answer, health: Health) -> Verdict:
    """Hold one answer against what the user expects of a ready backend."""
    asked = f"GET {health.path}"
    if answer.status is None:
        return Verdict(ready=False, text=f"{asked}: {answer.error}")
    if answer.status != health.status:
        to = f" to {answer.location}" if answer.location else ""
        wanted = "" if health.status == 200 else f", expected {health.status}"  # noqa: PLR2004 - HTTP's OK
        return Verdict(ready=False, text=f"{asked} answered {answer.status}{to}{wanted}")
    if health.json is not None:
        lack = missing_from(answer.body, health.json)
        if lack is not None:
            return Verdict(ready=False, text=f"{asked} answered {answer.status}, but {lack}")
    return Verdict(ready=True, text=f"{asked} answered {answer.status}")


def missing_from(body: str, expected: Mapping[str, Any]) -> str | None:
    """Say what the body lacks of the expected pairs; None when it has them all."""
    try:
        found = json.loads(body)
    except ValueError:
        return "not in JSON"
    if not isinstance(found, dict):
        return f"with a JSON {type(found).__name__}, not an object"
    return _lacks(found, expected, "")


def _lacks(found: Mapping[str, Any], expected: Mapping[str, Any], prefix: str) -> str | None:
    for key, value in expected.items():
        place = f"{prefix}{key}"
        if key not in found:
            return f"without {place!r}"
        if isinstance(value, dict) and isinstance(found[key], dict):
            lack = _lacks(found[key], value, f"{place}.")
            if lack is not None:
                return lack
        elif found[key] != value or isinstance(found[key], bool) != isinstance(value, bool):
            return f"{place} is {json.dumps(found[key])[:60]}, expected {json.dumps(value)[:60]}"
    return None


def read_answer(status: int, headers: Mapping[str, str], body: str, seconds: float) -> Answer:
    """Make an Answer of what HTTP brought: the backend's own name and version stand in a JSON object."""
    answer = Answer(seconds=seconds, status=status, body=body, listening=True)
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP's class of redirects
        answer = replace(answer, location=headers.get("Location"))
    try:
        found = json.loads(body)
    except ValueError:
        return answer
    if not isinstance(found, dict):
        return answer
    names = [str(found[key]) for key in NAME_KEYS if isinstance(found.get(key), str | int | float)]
    version = found.get("version")
    return replace(
        answer,
        name=names[0] if names else None,
        version=str(version) if isinstance(version, str | int | float) else None,
    )


@dataclass(slots=True)
class ProbeGaps:
    """The pauses between probes: from 10 ms, growing to 250 ms; `restart` when something moved."""

    _next: float = FIRST_GAP_S

    def next_gap_s(self) -> float:
        gap = self._next
        self._next = min(gap * GAP_GROWTH, LONGEST_GAP_S)
        return gap

    def restart(self) -> None:
        self._next = FIRST_GAP_S


@dataclass(slots=True)
class StallWatch:
    """Tells slow from stuck: movement is an import event, work of a processor, or new log text.

    Once the port listens only a changing answer is movement: a server that polls its own queue would otherwise
    look alive for ever. Lines that are equal when their digits are masked are not new: a retry loop is no movement.
    """

    stall_s: float
    moved_at: float
    _seen: set[str] = field(default_factory=set)
    _answer: tuple[object, ...] | None = None
    _listening: bool = False

    def imported(self, at: float) -> None:
        self._move(at)

    def worked(self, at: float, cpu: float) -> None:
        if cpu >= IDLE_CPU:
            self._move(at)

    def wrote(self, at: float, lines: Iterable[str]) -> bool:
        """Take the newest lines; say whether one of them is new text."""
        new = {_DIGITS.sub("0", line) for line in lines} - self._seen
        if not new:
            return False
        if len(self._seen) > REMEMBERED_LINES:
            self._seen.clear()
        self._seen |= new
        self._move(at)
        return True

    def answered(self, at: float, answer: Answer) -> None:
        if not answer.listening:
            return
        seen = (answer.status, answer.error, _DIGITS.sub("0", answer.body), answer.location)
        if not self._listening or seen != self._answer:
            self._listening, self._answer = True, seen
            self.moved_at = at

    def _move(self, at: float) -> None:
        if not self._listening:
            self.moved_at = at

    def still_s(self, now: float) -> float:
        return now - self.moved_at

    def due_at(self) -> float:
        return self.moved_at + self.stall_s
