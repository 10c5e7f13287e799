"""A process table as a tree of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.harness.show.text import Line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["tree_lines"]

_LONGEST = 100


def tree_lines(table: Iterable[dict[str, Any]]) -> Iterator[Line]:
    """Yield a line for each process, below its parent; fields are those of `tap.processes`."""
    rows = {int(row["pid"]): row for row in table}
    children: dict[int, list[int]] = {}
    for pid, row in sorted(rows.items()):
        parent = int(row["ppid"])
        children.setdefault(parent if parent in rows and parent != pid else 0, []).append(pid)

    def below(pid: int, depth: int) -> Iterator[Line]:
        row = rows[pid]
        words = " ".join(str(word) for word in row["argv"]) or f"[{row['comm']}]"
        shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
        yield Line(printable(f"{pid:>10}  {'  ' * depth}{shown}"), "process")
        for child in children.get(pid, ()):
            yield from below(child, depth + 1)

    for pid in children.get(0, ()):
        yield from below(pid, 0)
