"""One run of a scenario as a picture: SVG that stands alone, for documents. Light and dark by the reader's setting. Pure.

The rows are those of the HTML page (`rows`); texts are cut to the room that they have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from sixhops.harness.exchange import Exchange
from sixhops.harness.report.document import picture_of
from sixhops.harness.report.lanes import LANES, own_hop
from sixhops.harness.show.calls import sent_line
from sixhops.harness.show.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.report.document import Picture, StepPicture
    from sixhops.harness.report.rows import Row
    from sixhops.harness.run.transcript import Transcript
    from sixhops.harness.show import Choice

__all__ = ["picture"]

_WIDTH: Final = 1120
_LEFT: Final = 84
_LANE: Final = 140
_HEAD: Final = 64
_ROW: Final = 31
_STEP: Final = 46
#: Width of a letter of the labels' font (12.5 px, fixed width), for cutting texts.
_LETTER: Final = 7.6
_LONG_ID: Final = re.compile(r"\b(sha256:)?([0-9a-f]{12})[0-9a-f]{52}\b")
_VERSIONED: Final = re.compile(r"^([A-Z]+) /v1\.\d+/")
_STYLE: Final = """
  svg { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; --paper: #fff; --ink: #14171c;
    --soft: #545c68; --line: #dfe3e8; --engine: #2459d3; --registry: #8a2cc9; --containerd: #0b6c80; --shim: #a1500b;
    --runtime: #1c7a3d; --process: #b61a54; --failed: #c01f3a; --busy: #cdd2d9; }
  @media (prefers-color-scheme: dark) { svg { --paper: #0e1116; --ink: #e8ebf0; --soft: #9aa5b4; --line: #2a313b;
    --engine: #7fabff; --registry: #cf9bff; --containerd: #4fcbe0; --shim: #f5b058; --runtime: #66d890;
    --process: #ff8cb0; --failed: #ff7d8e; --busy: #3d4550; } }
  .paper { fill: var(--paper); } .life { stroke: var(--line); } .busy { fill: var(--busy); }
  .lane { font-weight: 600; font-size: 15px; text-anchor: middle; fill: var(--ink); }
  .step { font-weight: 600; font-size: 15px; fill: var(--ink); } .rule { stroke: var(--line); }
  .when { font-size: 12px; fill: var(--soft); } .took { font-size: 12px; fill: var(--soft); text-anchor: end; }
  .label { font: 12.5px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; paint-order: stroke;
    stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
  .line { stroke-width: 2; fill: none; } .answer { stroke-dasharray: 5 4; }
  .process-name { font: 600 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--process); }
  .process-words { font: 12.5px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink); }
  .failed { fill: var(--failed); font-weight: 600; font-size: 13px; }
""" + "".join(
    f"  .{hop} {{ stroke: var(--{hop}); }} text.{hop}, .head.{hop} {{ fill: var(--{hop}); }}\n"
    f"  .head.{hop} {{ stroke: none; }}\n"
    f"  text.{hop} {{ stroke: var(--paper); }}\n"
    for hop in ("engine", "registry", "containerd", "shim", "runtime", "process")
)


@dataclass(slots=True)
class _Sheet:
    """The parts drawn so far, and where the next one goes."""

    parts: list[str]
    y: float = _HEAD

    def add(self, text: str) -> None:
        self.parts.append(text)


def picture(transcript: Transcript, choice: Choice) -> str:
    """Return the picture of what is chosen of a run: its steps, and on them the messages of the chosen hops."""
    drawn = picture_of(transcript)
    sheet = _Sheet([])
    for step in drawn.steps:
        if choice.has_step(step.exchange):
            _step(sheet, drawn, step, choice)
    height = sheet.y + 16
    title = f"{transcript.header['title']}, on {transcript.header['target']['name']}"
    lanes = "".join(
        f'<line class="life" x1="{_x(lane)}" x2="{_x(lane)}" y1="44" y2="{height - 10:g}"/>'
        f'<text class="lane" x="{_x(lane)}" y="30">{name}</text>'
        for lane, name in enumerate(LANES)
    )
    body = "\n".join(sheet.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" '
        f'height="{height:g}" role="img" aria-label={quoteattr(_plain(title))}>\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="{_WIDTH}" height="{height:g}" rx="10"/>\n{lanes}\n{body}\n</svg>\n'
    )


def _x(lane: int) -> float:
    return _LEFT + 60 + lane * _LANE


def _step(sheet: _Sheet, drawn: Picture, step: StepPicture, choice: Choice) -> None:
    exchange = step.exchange
    y = sheet.y
    sheet.add(f'<line class="rule" x1="12" x2="{_WIDTH - 12}" y1="{y:g}" y2="{y:g}"/>')
    words = _cut(f"{exchange.step + 1}  {exchange.name}", _WIDTH - 40, 8.4)
    sheet.add(
        f'<rect class="paper" x="12" y="{y + 8:g}" width="{min(_WIDTH - 24, 24 + 8.4 * len(words)):g}" height="28"/>'
        f'<text class="step" x="20" y="{y + 28:g}">{words}</text>'
    )
    sheet.y += _STEP
    for row in step.rows:
        if choice.has_hop(_hop(drawn, row)):
            _row(sheet, drawn, row)
    for line, kind in _processes(step):
        sheet.add(f'<text class="{kind}" x="{_LEFT}" y="{sheet.y + 12:g}" xml:space="preserve">{line}</text>')
        sheet.y += 22
    for failure, _ in step.failures:
        first = failure["text"].strip().partition("\n")[0]
        sheet.add(
            f'<text class="failed" x="{_LEFT}" y="{sheet.y + 12:g}">✗ {_cut(first, _WIDTH - _LEFT - 30, 7.6)}</text>'
        )
        sheet.y += 22
    sheet.y += 10


def _hop(drawn: Picture, row: Row) -> str:
    item = drawn.messages[row.message]
    return str(own_hop(item)) if isinstance(item, Exchange) else str(item.hop)


def _row(sheet: _Sheet, drawn: Picture, row: Row) -> None:
    item = drawn.messages[row.message]
    hop, y = _hop(drawn, row), sheet.y
    left, right = sorted((_x(row.source), _x(row.sink)))
    line = y + 22
    for lane in row.active:
        sheet.add(f'<rect class="busy" x="{_x(lane) - 3.5:g}" y="{y:g}" width="7" height="{_ROW}"/>')
    tip, back = (right - 3, -9) if row.sink > row.source else (left + 3, 9)
    dashed = " answer" if row.kind in {"answer", "event"} else ""
    sheet.add(
        f'<path class="line {hop}{dashed}" d="M{left:g} {line:g}H{right:g}"/>'
        f'<path class="head {hop}" d="M{tip:g} {line:g}l{back} -5v10z"/>'
    )
    text = _label(row, sent_line(item) or item.name if isinstance(item, Exchange) else item.summary)
    sheet.add(
        f'<text class="label {hop}" x="{left + 8:g}" y="{y + 15:g}">{_cut(text, _WIDTH - 80 - left, _LETTER)}</text>'
    )
    sheet.add(f'<text class="when" x="20" y="{y + 20:g}">{_duration(row.at)}</text>')
    if row.kind in {"call", "answer"}:
        took = max(0.0, item.ended - item.started)
        sheet.add(f'<text class="took" x="{_WIDTH - 16}" y="{y + 20:g}">{_duration(took)}</text>')
    sheet.y += _ROW


def _label(row: Row, summary: str) -> str:
    text = _VERSIONED.sub(r"\1 /", _shortened(summary))
    call, arrow, outcome = text.rpartition(" -> ")
    if not arrow or outcome == "...":
        return call or text
    if row.kind == "ask":
        return call
    return f"{outcome} ← {call}" if row.kind == "answer" else f"{call} → {outcome}"


def _shortened(text: str) -> str:
    """Return `text` with long ids and digests cut to the digits that people compare."""
    return _LONG_ID.sub(r"\1\2…", text)


def _processes(step: StepPicture) -> Iterator[tuple[str, str]]:
    """Yield lines of text, with their class, for the processes that a step has seen."""
    seen = step.exchange.facets.get("processes")
    if not isinstance(seen, list):
        return
    if not seen:
        yield "no such process", "process-words"
    for process in seen:
        if isinstance(process, dict) and "pid" in process:
            parent = f"{process.get('parent') or 'outside'} ({process['ppid']})"
            words = process.get("argv")
            argv = " ".join(map(str, words)) if isinstance(words, list) else ""
            head = f"{parent} └─ {process['comm']} ({process['pid']})"
            yield f"{_plain(head)}", "process-name"
            yield f"     {_cut(_shortened(argv), _WIDTH - _LEFT - 60, _LETTER)}", "process-words"


def _cut(text: str, room: float, letter: float) -> str:
    most = int(room / letter)
    return _plain(text if len(text) <= most else f"{text[: most - 1]}…")


def _plain(text: str) -> str:
    """Return `text` as XML text; what XML can't hold, and what could turn the line around, is an escape."""
    return escape(printable(text))


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
