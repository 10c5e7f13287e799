"""Failures as plain text: where in the scenario, which hop, where in the value, expected and seen beneath
each other.

Long values are shortened in the middle, around the first difference when both are text; texts of several
lines are compared line by line. No colours and no width of the terminal: the same text goes to the screen, to
JUnit and to the report.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.match import MISSING, Messages, render, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.judge.verdict import Failure

__all__ = ["format_mismatch", "format_mismatches"]

_LONGEST: Final = 240
_BEFORE: Final = 40
_MOST_LINES: Final = 24


def format_mismatches(failures: Iterable[Failure]) -> str:
    """Return all failures, one after the other, under one line for each step."""
    blocks: list[str] = []
    step = None
    for failure in failures:
        if failure.step != step:
            step = failure.step
            blocks.append(_heading(failure))
        blocks.append(_body(failure))
    return "\n".join(blocks)


def format_mismatch(failure: Failure) -> str:
    """Return one failure, with the line of its step."""
    return f"{_heading(failure)}\n{_body(failure)}"


def _heading(failure: Failure) -> str:
    return f"step {failure.step + 1}: {failure.step_name}"


def _body(failure: Failure) -> str:
    if not failure.facet:
        lines = [f"  {failure.mark}  {failure.problem}"]
    else:
        lines = [f"  {failure.mark}  [{failure.hop} hop] {_place(failure)} {failure.problem}"]
        lines += [f"    {line}" for line in _sides(failure.expected, failure.seen)]
    lines += [f"    {note}" for note in failure.notes]
    return "\n".join(lines)


def _place(failure: Failure) -> str:
    if failure.path.startswith("$") and failure.facet == "json":
        return f"json {failure.path}"
    return failure.path or failure.facet


def _sides(expected: Any, seen: Any) -> list[str]:
    if expected is MISSING and seen is MISSING:
        return []
    wanted, there = _plain(expected), _plain(seen)
    if (
        isinstance(wanted, str)
        and isinstance(there, str)
        and ("\n" in wanted.rstrip("\n") and "\n" in there.rstrip("\n"))
    ):
        return _line_by_line(wanted, there)
    kinds = type_name(expected), type_name(seen)
    differ = kinds[0] != kinds[1] and MISSING not in (expected, seen) and kinds[0] != "matcher"
    left, right = render(expected) if expected is not MISSING else "(nothing)", _render(seen)
    start = (
        _first_difference(left, right) if isinstance(expected, str) and isinstance(seen, str | bytes) else 0
    )
    suffix = (f"  ({kinds[0]})", f"  ({kinds[1]})") if differ else ("", "")
    return [f"expected  {_shorten(left, start)}{suffix[0]}", f"seen      {_shorten(right, start)}{suffix[1]}"]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def _render(value: Any) -> str:
    if value is MISSING:
        return "(nothing)"
    if isinstance(value, Messages) and not value.items:
        return "(no messages)"
    plain = _plain(value)
    return repr(plain) if isinstance(plain, bytes) else render(plain)


def _first_difference(left: str, right: str) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))


def _shorten(text: str, start: int) -> str:
    """Return at most `_LONGEST` characters of `text`, with what is around `start` kept, and its length when
    cut.
    """
    if len(text) <= _LONGEST:
        return text
    begin = max(0, start - _BEFORE) if start > _LONGEST - _BEFORE else 0
    head = text[begin : begin + _LONGEST - 60]
    left = "... " if begin else ""
    tail = "" if begin + len(head) >= len(text) else f" ... {text[max(begin + len(head), len(text) - 40) :]}"
    return f"{left}{head}{tail}  ({len(text)} characters)"


def _line_by_line(wanted: str, there: str) -> list[str]:
    """Return both texts as a difference: `-` expected and not seen, `+` seen and not expected."""
    left, right = wanted.splitlines(keepends=True), there.splitlines(keepends=True)
    if [line.rstrip() for line in left] == [line.rstrip() for line in right]:
        pair = next((pair for pair in zip(left, right, strict=True) if pair[0] != pair[1]), ("", ""))
        return ["only spaces or line ends differ:", f"expected  {pair[0]!r}", f"seen      {pair[1]!r}"]
    lines = [
        _shorten(line.rstrip("\n"), 0) for line in difflib.ndiff(left, right) if not line.startswith("?")
    ]
    changed = [index for index, line in enumerate(lines) if line[0] in "+-"]
    first, last = max(0, changed[0] - 2), min(len(lines), changed[-1] + 3)
    shown = lines[first:last]
    if len(shown) > _MOST_LINES:
        shown = [*shown[: _MOST_LINES - 4], f"... {len(shown) - _MOST_LINES} lines more", *shown[-4:]]
    head = "line by line (- expected, + seen):"
    return [head, *(f"  {line}" for line in shown)]
