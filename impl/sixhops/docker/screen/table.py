"""Columns as Go's text/tabwriter makes them with docker's settings, and `--format` for lists of things.

A cell ends with a tab, so the last cell of a line belongs to no column and is never padded. A column is at least 10
wide (20 for `top`) and has three spaces between its longest cell and the next.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sixhops.docker.errors import DockerError
from sixhops.docker.screen import template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Listing", "align", "check", "with_default", "write"]

_PADDING = 3


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list command prints: `fields` computes each placeholder from a thing, `titles` heads its column.

    `default` and `quiet` are templates, as are `raw` and `raw_quiet`, which stand for the format `raw` (where it stands for
    nothing it is a template like any other); a title of a field with an argument (`.Label "x"`) is that argument.
    `plain` computes the fields that are something else in JSON.
    """

    fields: Mapping[str, Callable[..., Any]]
    titles: Mapping[str, str]
    default: str
    quiet: str = "{{.ID}}"
    kind: str = "interface {}"
    raw: str = "raw"
    raw_quiet: str = "raw"
    plain: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def row(self, thing: Any) -> template.Fields:
        """Return a thing as a template sees it."""
        return _Row(self, thing)


def with_default(listing: Listing, default: str) -> Listing:
    """Return the listing with other columns where none are chosen."""
    return replace(listing, default=default)


def align(text: str, least: int = 10) -> str:
    """Return `text` with its tabs turned into columns at least `least` wide."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]

    def column(first: int, last: int, depth: int) -> None:
        """Find the widths of column `depth` in the block of lines that have it."""
        index = first
        while index < last:
            end = index
            while end < last and len(lines[end]) - 1 > depth:
                end += 1
            if end > index:
                width = max([least, *(len(lines[row][depth]) + _PADDING for row in range(index, end))])
                for row in range(index, end):
                    widths[row].append(width)
                column(index, end, depth + 1)
            index = max(end, index + 1)

    column(0, len(lines), 0)
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(cells, widths[row], strict=False)) + cells[-1]
        for row, cells in enumerate(lines)
    )


def check(listing: Listing, chosen: str) -> None:
    """Raise DockerError when a chosen template can't be read: told before anything is asked of the engine."""
    compiled, is_table = _compiled(listing, chosen, quiet=False, problem="failed to parse template")
    try:
        if is_table and chosen.startswith("table "):
            compiled = template.parse(chosen)  # places in messages count from the word
        compiled.render(_Titles(listing, empty=True))
    except template.TemplateError as error:
        raise DockerError(f"failed to execute template: {error}") from error


def _compiled(
    listing: Listing, chosen: str, *, quiet: bool, problem: str = "template parsing error"
) -> tuple[template.Template, bool]:
    """Return the template, and whether it makes a table. `problem` is in front of what is wrong with it."""
    text, table = chosen, False
    if chosen in ("", "table"):
        text, table = (listing.quiet, False) if quiet else (listing.default, True)
    elif chosen == "raw":
        text = listing.raw_quiet if quiet else listing.raw
    elif chosen.startswith("table"):
        text, table = chosen.removeprefix("table"), True
    try:
        return template.parse(text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")), table
    except template.TemplateError as error:
        raise DockerError(f"{problem}: {error}") from error


def write(listing: Listing, things: Iterable[Any], chosen: str, *, quiet: bool = False) -> None:
    """Print things on stdout with the format that the person chose ("" and "table": the default). Raises DockerError."""
    compiled, table = _compiled(listing, chosen, quiet=quiet)
    lines = []
    try:
        if table:
            lines.append(compiled.render(_Titles(listing)))
        lines += [compiled.render(_Row(listing, thing)) for thing in things]
    except template.TemplateError as error:
        raise DockerError(f"template parsing error: {error}") from error
    output = "".join(f"{line}\n" for line in lines)
    sys.stdout.write(align(output) if table else output)


class _Row(template.Fields):
    """One thing, as a template sees it."""

    def __init__(self, listing: Listing, thing: Any) -> None:
        self.kind = listing.kind
        self._listing = listing
        self._thing = thing

    def wants(self, name: str) -> int:
        """Return how many arguments a placeholder takes."""
        return _wanted(self._listing, name)

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Compute a placeholder."""
        return self._listing.fields[name](self._thing, *arguments)

    def as_json(self) -> str:
        """Return all placeholders that take no argument, by name."""
        plain = self._listing.plain
        values = {
            name: plain[name](self._thing) if name in plain else self.field(name, [])
            for name in self._listing.fields
            if name != "Label"
        }
        text = json.dumps(dict(sorted(values.items())), separators=(",", ":"), ensure_ascii=False)
        return template.escaped(text)


class _Titles(template.Fields):
    """The heading line: every placeholder is its column's title. `empty`: nothing at all, to try a template with."""

    def __init__(self, listing: Listing, *, empty: bool = False) -> None:
        self.kind = listing.kind
        self._listing = listing
        self._empty = empty

    def wants(self, name: str) -> int:
        """Return how many arguments a placeholder takes. In a heading, one that is unknown has no value."""
        known = self._empty or name in self._listing.fields
        return _wanted(self._listing, name) if known else 0

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Return a title; that of a label is the last part of its name."""
        if self._empty:
            return ""
        if arguments:
            return str(arguments[0]).rpartition(".")[2].replace("-", " ").replace("_", " ")
        return self._listing.titles.get(name, name.upper()) if name in self._listing.fields else None

    def as_json(self) -> str:
        """Return nothing: a heading has no JSON."""
        return ""


def _wanted(listing: Listing, name: str) -> int:
    if name not in listing.fields:
        raise KeyError(name)
    return 1 if name == "Label" else 0
