"""docs/scenario-language.md, made from the grammar and the table of matchers.

`python -m sixhops.harness.scenario.reference FILE` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.match.matchers import MATCHERS
from sixhops.harness.scenario.grammar import ACTIONS, FACETS, SCENARIO, step_record
from sixhops.harness.scenario.kinds import Choice, Data, Either, Key, Kind, ListOf, MapOf, Record
from sixhops.harness.scenario.reference_texts import DIRECT, INTRODUCTION, MESSAGES
from sixhops.harness.scenario.terms import BODY, HOPS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["language_reference"]


def language_reference() -> str:
    """Return docs/scenario-language.md."""
    parts = [INTRODUCTION, "| matcher | argument | holds for |\n|---|---|---|\n"]
    for kind in MATCHERS.values():
        takes = kind.takes if kind.argument != "optional" else f"nothing, or {kind.takes}"
        parts.append(f"| `!{kind.name}` | {_cell(takes) or 'none'} | {_cell(kind.doc)} |\n")
    parts += ["\n## The file\n\n", _table(SCENARIO)]
    for name, key in SCENARIO.keys.items():
        parts += [
            f"\n### In `{name}`\n\n{record.doc}\n\n{_table(record)}"
            for record in _records(key.kind)
            if record.name != "step"
        ]
    parts.append(
        "\n## Steps\n\nA step has one of these keys, and says what is done.\n\n"
        "| action | takes | meaning |\n|---|---|---|\n"
    )
    parts += [f"| `{name}` | {_cell(key.kind.what)} | {_cell(key.doc)} |\n" for name, key in ACTIONS.items()]
    parts.append("\nBeside it:\n\n| key | in steps | takes | meaning |\n|---|---|---|---|\n")
    parts += _modifiers()
    parts.append(
        "\nThere is no step that sleeps: use `background` with `join` and `await`, or `eventually`.\n"
    )
    parts += [DIRECT, "\n### Bodies\n\n", BODY.doc, "\n\n", _table(BODY)]
    seen = [record for name in ("send", "fault", "docker", "runc", "request") for record in _inner(name)]
    for record in {record.name: record for record in seen}.values():
        parts += [f"\n### A {record.name}\n\n{record.doc}\n\n", _table(record)]
    parts.append("\n## What can be expected\n\n| in `expect` of | facet | what it is |\n|---|---|---|\n")
    for kind_name, facets in FACETS.items():
        if kind_name not in ("join", "await"):
            where = "a console" if kind_name == "console" else f"`{kind_name}`"
            parts += [f"| {where} | `{facet}` | {_cell(doc)} |\n" for facet, doc in facets.items()]
    hops = ", ".join(f"`{hop}`" for hop in HOPS)
    parts.append(
        "\n`join` and `await` look at what the background step's kind has. "
        f"Every one of them also has the hops {hops}"
    )
    parts.append(", unless the name is a facet of its own: the messages on that hop during the step.\n")
    parts.append(MESSAGES)
    return "".join(parts)


def _table(record: Record) -> str:
    rows = [
        f"| `{name}`{' (required)' if key.required else ''} | {_cell(_what(key.kind))} | {_cell(key.doc)} |\n"
        for name, key in record.keys.items()
    ]
    notes = f"\nExactly one of {', '.join(f'`{name}`' for name in record.one_of)}.\n" if record.one_of else ""
    return "| key | takes | meaning |\n|---|---|---|\n" + "".join(rows) + notes


def _modifiers() -> Iterator[str]:
    rows: dict[tuple[str, str, str], list[str]] = {}
    for kind in ACTIONS:
        for name, key in step_record(kind).keys.items():
            if name not in ACTIONS or name != kind:
                rows.setdefault((name, _what(key.kind), key.doc), []).append(kind)
    for (name, takes, doc), kinds in rows.items():
        where = "all" if len(kinds) == len(ACTIONS) else ", ".join(f"`{kind}`" for kind in kinds)
        yield f"| `{name}` | {where} | {_cell(takes)} | {_cell(doc)} |\n"


def _what(kind: Kind) -> str:
    if isinstance(kind, Choice):
        return ", ".join(f"`{word}`" for word in kind.words)
    if isinstance(kind, Data) and kind.matchers:
        return f"{kind.what}, matchers too"
    if isinstance(kind, ListOf) and kind.single:
        return f"{_what(kind.item)}, or a list of them"
    if isinstance(kind, Either):
        return " or ".join(dict.fromkeys(map(_what, kind.kinds)))
    return kind.what


def _records(kind: Kind) -> Iterator[Record]:
    if isinstance(kind, Record):
        yield kind
    elif isinstance(kind, Either):
        for option in kind.kinds:
            yield from _records(option)
    elif isinstance(kind, ListOf | MapOf):
        yield from _records(kind.item)


def _inner(kind: str) -> list[Record]:
    keys: dict[str, Key] = step_record(kind).keys
    return [
        record
        for key in keys.values()
        for record in _records(key.kind)
        if record.name not in ("body", "expectation")
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(language_reference(), encoding="utf-8")
