"""The panel as HTML: what a notebook shows live, and what its saved copy keeps.

Renders a model and decides nothing. Every text goes through `_text`: others wrote it. Without its styles (a host
may drop them) the same elements still read from top to bottom: each line is a block, each state a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING

from masuka_magic.panel.columns import harmless
from masuka_magic.panel.model import is_code
from masuka_magic.panel.style import STYLE
from masuka_magic.quantities import duration

if TYPE_CHECKING:
    from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
    from masuka_magic.events import Phase
    from masuka_magic.panel.bar import Bar, Segment
    from masuka_magic.panel.model import PanelModel, Row, Word

#: What the panel's left edge and sign say, beside the words.
_TONES: dict[Phase, str] = {
    "new": "run",
    "checking": "run",
    "starting": "run",
    "ready": "ok",
    "unhealthy": "warn",
    "stalled": "warn",
    "failed": "bad",
    "exited": "bad",
    "stopping": "idle",
    "stopped": "idle",
}
_SIGNS = {"run": "", "ok": "✓", "warn": "!", "bad": "✕", "idle": "■"}
_MARKS: dict[Word, tuple[str, str]] = {
    "ok": ("ok", "✓"),
    "run": ("run", "●"),
    "wait": ("wait", "○"),
    "FAIL": ("bad", "✕"),
    "warn": ("warn", "!"),
    "skip": ("wait", "-"),
}
_LOUD: frozenset[Phase] = frozenset({"failed", "stalled", "exited", "unhealthy"})
_MOVING: frozenset[Phase] = frozenset({"new", "checking", "starting"})
_MOVING_LOG_LINES = 4
_LAST_LOG_LINES = 8
#: Shares of the bar are written with this denominator; a flex-grow below 1 in sum would not fill it.
_WHOLE = 1_000


def panel_html(
    panel: PanelModel,
    *,
    turn_s: float = 0.0,
    link: bool = True,
    explained: Callable[[str], bool] | None = None,
) -> str:
    """Render the whole panel with its styles, for an output that stands by itself."""
    return STYLE + body_html(panel, turn_s=turn_s, link=link, explained=explained)


def body_html(
    panel: PanelModel,
    *,
    turn_s: float = 0.0,
    link: bool = True,
    explained: Callable[[str], bool] | None = None,
) -> str:
    """Render the panel without its styles.

    `turn_s`: any steady clock; what turns goes on from there when the whole is drawn anew. `link`: the
    reader's browser reaches the backend's address. `explained`: whether a code has its page.
    """
    parts = [_head(panel, turn_s, link=link)]
    if panel.phase in _MOVING:
        parts += [
            _bar(panel.bar, turn_s),
            _rows(panel.rows),
            _notes(panel.notes),
            _moving_log(panel),
            _foot(panel),
        ]
    elif panel.phase == "ready":
        parts += [_bar(panel.bar, turn_s), _notes(panel.notes), _story(panel)]
    else:
        parts += [_finding(one, explained) for one in panel.findings]
        parts += [_bar(panel.bar, turn_s), _notes(panel.notes)]
        parts += [_rows(panel.rows) if panel.phase in _LOUD else _story(panel)]
        parts += [_last_log(panel) if panel.phase in _LOUD else ""]
    moving = panel.phase in _MOVING
    tone = f"mk mk-{_TONES[panel.phase]}{' mk-moves' if moving else ''}"
    role = "alert" if panel.phase in _LOUD else "status"
    busy = ' aria-busy="true"' if moving else ""
    return f'<div class="{tone}" role="{role}"{busy}>{"".join(parts)}</div>'


def _text(text: str) -> str:
    """Make a foreign text fit for an element or a quoted attribute: no markup, no controls, no reversal."""
    return escape(harmless(text), quote=True)


def _head(panel: PanelModel, turn_s: float, *, link: bool) -> str:
    tone = _TONES[panel.phase]
    turns = f' mk-turns" style="animation-delay:-{turn_s % 1.0:.2f}s' if tone == "run" else ""
    lead = f'<span class="mk-title">{_text(panel.title)}</span> <span class="mk-subject">{_text(panel.subject)}</span>'
    said = [
        part for line in panel.outcome for part in line.removeprefix(f"{panel.title.lower()}: ").split("  ")
    ]
    if panel.awaited:
        said = [f"waiting for {panel.awaited}", *([panel.usual] if panel.usual else [])]
    told = [part for part in said if part and not part.lower().endswith(panel.title.lower())]
    sub = " ".join(f"<span>{_said(part, panel.url if link else None)}</span>" for part in told)
    time = f'<div class="mk-time">{_text(panel.elapsed)}</div>' if panel.elapsed else ""
    return (
        f'<div class="mk-head"><div class="mk-sign{turns}" aria-hidden="true">{_SIGNS[tone]}</div>'
        f'<div class="mk-what"><div class="mk-lead">{lead}</div><div class="mk-sub">{sub}</div></div>{time}</div>'
    )


def _said(part: str, url: str | None) -> str:
    if url is None or part != url or not url.startswith(("http://", "https://")):
        return _text(part)
    return f'<a class="mk-link" href="{_text(url)}" target="_blank" rel="noopener">{_text(url)}</a>'


def _bar(bar: Bar, turn_s: float) -> str:
    whole = sum(segment.seconds for segment in bar.segments)
    if whole <= 0:
        return ""
    shown = "".join(_segment(one, whole, bar, turn_s) for one in bar.segments)
    if not bar.runs:
        told = ", ".join(f"{one.label} {duration(one.seconds)}" for one in bar.segments if one.label)
        return f'<div class="mk-bar" role="img" aria-label="{_text(told)}">{shown}</div>'
    now = "" if bar.percent is None else f' aria-valuenow="{bar.percent}"'
    return (
        f'<div class="mk-bar" role="progressbar" aria-label="progress of the start" aria-valuemin="0"'
        f' aria-valuemax="100"{now}>{shown}</div>'
    )


def _segment(segment: Segment, whole: float, bar: Bar, turn_s: float) -> str:
    kind, more = str(segment.kind), ""
    if kind == "run" and bar.percent is None:
        kind, more = "run mk-open", f";animation-delay:-{turn_s % 1.6:.2f}s"
    title = f' title="{_text(segment.label)} {duration(segment.seconds)}"' if segment.label else ""
    share = round(_WHOLE * segment.seconds / whole)
    return f'<div class="mk-seg mk-{kind}" style="flex:{share} 1 0{more}"{title}></div>'


def _rows(rows: Iterable[Row]) -> str:
    return f'<div class="mk-rows" role="list">{"".join(_row(row) for row in rows)}</div>'


def _row(row: Row) -> str:
    tone, mark = _MARKS[row.word]
    text = _text(row.text)
    shown = (
        f'<div class="mk-row mk-{tone}" role="listitem">'
        f'<span class="mk-mark" role="img" aria-label="{_text(row.word)}">{mark}</span> '
        f'<span class="mk-name">{_text(row.name)}</span> '
        f'<span class="mk-text" title="{text}">{text}</span> '
        f'<span class="mk-time">{_text(row.duration)}</span></div>'
    )
    if row.layers and row.word in {"FAIL", "warn"}:
        shown += f'<div class="mk-layers" role="list">{"".join(_row(layer) for layer in row.layers)}</div>'
    return shown


def _moving_log(panel: PanelModel) -> str:
    """Show the newest lines in a field that has its height from the beginning."""
    lines = [line for line in panel.log_tail if line.strip()][-_MOVING_LOG_LINES:]
    shown = _log_lines(lines) or '<div class="mk-label">the log is empty so far</div>'
    return f'<div class="mk-log" aria-live="off">{shown}</div>'


def _last_log(panel: PanelModel) -> str:
    lines = [line for line in panel.log_tail if line.strip()][-_LAST_LOG_LINES:]
    if not lines:
        return ""
    label = '<div class="mk-label">the last lines of the log (all of it: %masuka_logs)</div>'
    return f'<div class="mk-log">{label}{_log_lines(lines)}</div>'


def _log_lines(lines: Iterable[str]) -> str:
    return "".join(f'<div class="mk-logline">{_text(line)}</div>' for line in lines)


def _foot(panel: PanelModel) -> str:
    use = "".join(f"<span>{_text(part)}</span> " for part in panel.use.split("  ") if part)
    return f'<div class="mk-foot">{use}<span class="mk-grow"></span> <span>interrupt the cell to stop</span></div>'


def _story(panel: PanelModel) -> str:
    """Say in one line where the time went; the stages are behind it."""
    parts = "".join(
        f'<span class="mk-part">{_text(one.label)} {duration(one.seconds)}</span> '
        for one in panel.bar.segments
        if one.label
    )
    if not panel.rows:
        return ""
    said = "where the time went" if parts else "the stages"
    return f'<details class="mk-more"><summary class="mk-sum">{said} {parts}</summary>{_rows(panel.rows)}</details>'


def _notes(notes: Iterable[str]) -> str:
    lines = "".join(
        f'<div class="mk-note"><span class="mk-word">note:</span> {_text(note)}</div>' for note in notes
    )
    return f'<div class="mk-notes">{lines}</div>' if lines else ""


def _finding(finding: Finding, explained: Callable[[str], bool] | None) -> str:
    parts = [
        f'<div class="mk-cause">{_text(finding.title)} <span class="mk-code">[{_text(finding.code)}]</span></div>',
        _evidence(finding.evidence),
        *(f'<div class="mk-note">{_text(note)}</div>' for note in finding.notes),
        *(_remedy(remedy) for remedy in finding.remedies),
    ]
    if explained is not None and explained(finding.code):
        parts.append(f'<div class="mk-note">more: %masuka_explain {_text(finding.code)}</div>')
    return f'<div class="mk-find">{"".join(parts)}</div>'


def _evidence(lines: Iterable[EvidenceLine]) -> str:
    """Show lines of one source in one box; the user's own lines are the marked ones."""
    boxes: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.source and (not boxes or boxes[-1][0] != line.source):
            boxes.append((line.source, []))
        elif not boxes:
            boxes.append(("", []))
        code = is_code(line)
        number = "" if line.line_number is None else str(line.line_number)
        numbered = f'<span class="mk-no">{number}</span> ' if number or code else ""
        boxes[-1][1].append(
            f'<div class="mk-line{" mk-hit" if code else ""}">{numbered}'
            f'<span class="mk-said">{_text(line.text)}</span></div>'
        )
    return "".join(
        f'<div class="mk-src"><div class="mk-from">{_text(source)}</div>{"".join(inside)}</div>'
        for source, inside in boxes
    )


def _remedy(remedy: Remedy) -> str:
    said = f'<span class="mk-word">fix:</span> {_text(remedy.text)}'
    if remedy.command is None:
        return f'<div class="mk-fix">{said}</div>'
    command = "\n".join(_text(line) for line in remedy.command.rstrip("\n").split("\n"))
    return f'<div class="mk-fix">{said}<code class="mk-cmd">{command}</code></div>'
