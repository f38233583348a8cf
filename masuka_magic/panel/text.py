"""The panel as lines of text: 80 columns in a terminal, a log of papermill, an error's text.

Renders a model and decides nothing. Every line fits the width, save those of commands: a command that is cut
or wrapped cannot be pasted, so a long one stands alone on its line. Colour only repeats what words say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from masuka_magic.panel.columns import columns, cut, harmless, pad, wrap
from masuka_magic.panel.model import is_code, model, outcome_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
    from masuka_magic.panel.model import PanelModel, Row
    from masuka_magic.state import State

WIDTH = 80
#: The names of stages are padded to this, so that rows stay aligned when a longer stage joins.
_NAME_WIDTH = 11
_MOST_ROW_LINES = 3
#: What still changes must not jump; what failed is told by its finding.
_ONE_LINE = frozenset({"run", "wait", "FAIL"})
_MOST_LOG_LINES = 4
#: A longer place (a deep path) stands on a line of its own, or all lines would begin far right.
_LONGEST_PLACE = 28
_INDENT = "      "

_STYLES = {
    "ok": "32",
    "run": "1",
    "wait": "2",
    "FAIL": "1;31",
    "warn": "33",
    "skip": "2",
    "error": "1;31",
    "code": "2",
    "mark": "2",
    "fix": "32",
    "dim": "2",
    "bold": "1",
}


class Ink:
    """Colours words when it may; knows no widths, since it comes after them."""

    def __init__(self, *, colour: bool = False) -> None:
        self.colour = colour

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and text else text


PLAIN = Ink()


def headline(panel: PanelModel, width: int = WIDTH, ink: Ink = PLAIN) -> list[str]:
    """Render what is being started, and where."""
    return [ink("bold", line) for line in wrap(harmless(panel.headline), width, most=2)]


def row_lines(row: Row, width: int = WIDTH, ink: Ink = PLAIN, *, name_width: int = _NAME_WIDTH) -> list[str]:
    """Render one stage: its word, name, text and, at the right edge, its duration."""
    name = pad(cut(harmless(row.name), max(name_width, 1)), name_width)
    word = f"{row.word:<4}"
    head = f"  {word}  {name}  "
    time = f"  {row.duration}" if row.duration else ""
    room = width - columns(head) - len(time)
    if room < 1:
        return [cut(head + harmless(row.text), width)]
    texts = wrap(harmless(row.text), room, most=1 if row.word in _ONE_LINE else _MOST_ROW_LINES)
    first = f"  {ink(row.word, word)}  {name}  "
    lines = [first + (pad(texts[0], room) + time if time else texts[0]).rstrip()]
    lines += [" " * columns(head) + text for text in texts[1:]]
    return [line.rstrip() for line in lines]


def rows_lines(panel: PanelModel, width: int = WIDTH, ink: Ink = PLAIN) -> list[str]:
    """Render all stages, their columns aligned."""
    name_width = min(max([_NAME_WIDTH, *(columns(harmless(row.name)) for row in panel.rows)]), width // 3)
    return [line for row in panel.rows for line in row_lines(row, width, ink, name_width=name_width)]


def outcome(panel: PanelModel, width: int = WIDTH, ink: Ink = PLAIN) -> list[str]:
    """Render what it came to; the parts of the line move to the next one where there is no room."""
    style = {"ready": "ok", "failed": "error", "stalled": "error", "exited": "error", "unhealthy": "warn"}
    lines: list[str] = []
    for said in panel.outcome:
        lines += _parts(harmless(said), width)
    return [ink(style.get(panel.phase, "bold"), line) for line in lines]


def note_lines(notes: Iterable[str], width: int = WIDTH) -> list[str]:
    """Render facts about the start."""
    return [line for note in notes for line in _hung("note: ", harmless(note), width)]


def finding_lines(
    finding: Finding, width: int = WIDTH, ink: Ink = PLAIN, *, explained: bool = False, short: bool = False
) -> list[str]:
    """Render a finding: title and code, the lines that show it, facts, fixes.

    `explained`: `%masuka_explain` has a page for its code. `short`: the title, the user's own line and the
    fixes.
    """
    lines = _title(finding, width, ink)
    shown = [line for line in finding.evidence if not short or is_code(line)]
    lines += _evidence(shown, width, ink)
    if not short:
        for note in finding.notes:
            lines += _hung("  = ", harmless(note), width)
    for remedy in finding.remedies:
        lines += _remedy(remedy, width, ink)
    if explained and not short:
        lines += [f"  = more: %masuka_explain {harmless(finding.code)}"]
    return lines


def findings_lines(
    findings: Sequence[Finding],
    width: int = WIDTH,
    ink: Ink = PLAIN,
    *,
    explained: Callable[[str], bool] | None = None,
) -> list[str]:
    """Render findings, one below the other, an empty line between them."""
    lines: list[str] = []
    for finding in findings:
        known = explained is not None and explained(finding.code)
        lines += [*([""] if lines else []), *finding_lines(finding, width, ink, explained=known)]
    return lines


def panel_lines(
    panel: PanelModel, width: int = WIDTH, ink: Ink = PLAIN, *, explained: Callable[[str], bool] | None = None
) -> list[str]:
    """Render the whole panel, as it stands when a start is over or is looked at."""
    lines = [*headline(panel, width, ink), *rows_lines(panel, width, ink), *waiting_lines(panel, width)]
    lines += outcome(panel, width, ink)
    lines += note_lines(panel.notes, width)
    found = findings_lines(panel.findings, width, ink, explained=explained)
    return [*lines, "", *found] if found else lines


def waiting_lines(panel: PanelModel, width: int = WIDTH) -> list[str]:
    """Render what is waited for."""
    return _parts(harmless(panel.waiting), width) if panel.waiting else []


def render_failure(  # noqa: PLR0913 - what is shown, and how
    findings: Sequence[Finding],
    state: State,
    *,
    short: bool,
    redact: Callable[[str], str] | None = None,
    explained: Callable[[str], bool] | None = None,
    width: int = WIDTH,
) -> list[str]:
    """Render a failed start as an error's text; pure, and fit for `_render_traceback_` (a list of str).

    `short` stands beside a panel that shows the rest: the title, the user's own line and the fixes of the
    best finding. Else it is whole: what was started, what it came to, every finding. Without `redact` the
    findings and the state's texts have to be masked already.
    """
    panel = model(state, state.at, redact or _as_it_is)
    shown = panel.findings
    if tuple(findings) != state.findings:
        from masuka_magic.diagnosis.masking import masked

        shown = masked(findings, redact or _as_it_is)
    if short and shown:
        return finding_lines(shown[0], width, short=True)
    said = [*headline(panel, width), *outcome(panel, width), *note_lines(panel.notes, width)]
    if not outcome_lines(state):
        said += [harmless(f"not ready: {panel.phase}")]
    found = findings_lines(shown, width, explained=explained)
    return [*said, "", *found] if found else said


def _as_it_is(text: str) -> str:
    return text


def _title(finding: Finding, width: int, ink: Ink) -> list[str]:
    code = f"[{harmless(finding.code)}]"
    said = wrap(harmless(finding.title), width - len("error: "))
    lines = [("error: " if at == 0 else "       ") + text for at, text in enumerate(said)]
    used = columns(lines[-1])
    painted = [ink("error", line) for line in lines]
    if used + 2 + columns(code) <= width:
        painted[-1] += " " * (width - used - columns(code)) + ink("code", code)
    else:
        code = cut(code, width)
        painted.append(" " * (width - columns(code)) + ink("code", code))
    return painted


def _evidence(evidence: Sequence[EvidenceLine], width: int, ink: Ink) -> list[str]:
    places = [_place(line) for line in evidence]
    aligned = [columns(place) for place in places if columns(place) <= min(_LONGEST_PLACE, width // 2)]
    column = max(aligned, default=0) + 3
    lines: list[str] = []
    room = max(width - len("  → ") - column, 1)
    for line, place in zip(evidence, places, strict=True):
        code = is_code(line)
        first = " " if not line.source else "→" if code else "│"
        further = " " if code else "│"
        parts = wrap(harmless(line.text), room, most=1 if code else _MOST_LOG_LINES)
        if columns(place) + 3 <= column:
            lines.append(f"  {ink('mark', first)} {pad(place, column)}{parts.pop(0)}".rstrip())
        else:
            lines.append(f"  {ink('mark', first)} {cut(place, width - len('  → '))}")
        lines += [f"  {ink('mark', further)} {' ' * column}{part}".rstrip() for part in parts]
    return lines


def _place(line: EvidenceLine) -> str:
    source = harmless(line.source)
    return source if line.line_number is None else f"{source}:{line.line_number}"


def _remedy(remedy: Remedy, width: int, ink: Ink) -> list[str]:
    lead, text = "  = fix: ", harmless(remedy.text)
    if remedy.command is None:
        return _painted(_hung(lead, text, width), ink)
    commands = [harmless(line) for line in remedy.command.rstrip("\n").split("\n")]
    one_line = f"{lead}{text}:  {commands[0]}"
    if len(commands) == 1 and columns(one_line) <= width:
        return _painted([one_line], ink)
    return [*_painted(_hung(lead, f"{text}:", width), ink), *(f"{_INDENT}{command}" for command in commands)]


def _painted(lines: list[str], ink: Ink) -> list[str]:
    return [line.replace("= fix:", f"= {ink('fix', 'fix:')}", 1) for line in lines[:1]] + lines[1:]


def _hung(lead: str, text: str, width: int) -> list[str]:
    """Wrap a text behind its lead, further lines under the text's beginning."""
    below = " " * min(len(lead), 4)
    room = width - len(lead)
    if room < 1:
        return wrap(lead + text, width)
    first, *rest = wrap(text, room)
    return [lead + first, *(below + line for line in wrap(" ".join(rest), width - len(below)) if line)]


def _parts(text: str, width: int) -> list[str]:
    """Break a line between its parts (two spaces), then inside of them."""
    lines: list[str] = []
    for part in text.split("  "):
        if lines and columns(lines[-1]) + 2 + columns(part) <= width:
            lines[-1] += "  " + part
        else:
            lines += wrap(part, width)
    return lines
