"""docs/scenario-language.md, made from the grammar and the table of matchers.

`python -m sixhops.harness.scenario.reference FILE` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sixhops.harness.match.matchers import MATCHERS
from sixhops.harness.scenario.grammar import ACTIONS, FACETS, SCENARIO, step_record
from sixhops.harness.scenario.kinds import Choice, Data, Either, Key, Kind, ListOf, MapOf, Record
from sixhops.harness.scenario.terms import BODY, HOPS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["language_reference"]

_INTRODUCTION: Final = """\
# The scenario language

<!-- Made by `python -m sixhops.harness.scenario.reference docs/scenario-language.md`; change the grammar, not
this file. -->

A scenario is one YAML file: what is given, what is done step by step, and what each hop must show. `sixhops
lint` checks files, `sixhops explain` tells what one does, and `scenarios/schema.json` is for editors.

The YAML is YAML 1.2's common core: `yes`, `no`, `on`, `off`, dates and numbers with leading zeros are text.
There is one document in a file, and it has no anchors or aliases (use `vars`). Keys are text and stand
once. Write `!any }` and not `!any}`: YAML would read the brace as part of the tag. Inside `{...}` and
`[...]`, put `"${name}"` in quotes.

## How values are compared

- Types count: `1` is not `true`, not `"1"` and not `1.0`.
- A mapping holds when the keys that it names hold; others may stand beside them. `{}` holds for an empty
  mapping only.
- A list holds when it has these elements in this order. `!some` stands for any number of elements.
- The messages of a hop hold when the listed ones are among them, in this order. `[]` or `!none` means that
  there were none. A `!not` element forbids what it names between its neighbours. A message is written as
  its line, such as `GET /v2/ -> 200`, or as a mapping of its fields: method, path, query, status,
  request_headers, response_headers, request_body, response_body, request_json, response_json.
- Text is compared with bytes as UTF-8. Header names are compared in lower case.
- An empty text, `null` and a key that is not there are three different things.

## Variables

`${name}` stands anywhere in a value, and not in keys. A value that is one `${name}` alone keeps its type;
inside a longer text it becomes text. `$${` is a plain `${`. Paths go on with dots, `[0]`, `[-1]` and `["any
key"]`.

| root | what it holds |
|---|---|
| `images.RECIPE` | what is known of an image named in `images`: digest, id, layers and more |
| `target` | what is known of the target |
| `row` | the row of the `for` table |
| `scenario.unique` | a short text that no other run has, for names; `scenario.id` is the scenario's id |
| `letters[N]` | N times the letter a, for texts of a length that nobody wants to read |
| any other name | from `vars`, or from the `save` of an earlier step |

`save: {id: $.Id}` takes a part of the JSON body; `$stdout`, `$headers.location` and `$stream[0].id` take
other facets, and `$registry[0].path` a message. `{from: $stdout, re: "id=(.*)"}` takes the first group of a
regular expression.

## Matchers

A matcher stands anywhere in an expectation, also inside another one. YAML allows one tag for a value, so a
matcher directly in a matcher is written with a colon: `!not:contains "x"`, `!each:re "^a"`.

"""

_DIRECT: Final = """
### Steps on the inner hops

`grpc`, `ttrpc`, `bundle` and `runc` steps speak to the programs of a stack that sixhops starts, as their callers do; at
other targets the scenario is skipped, with the reason. They need no taps.

```yaml
- bundle: b                             # ${b} is its directory from now on
  image: busybox                        # any recipe; it need not be in `images`
  config: {process: {args: [/bin/sh, -c, exit 7]}}
- background: out                       # the container writes to what runc was given
  runc: create --bundle ${b} c-${scenario.unique}
  expect: {exit: 0}                     # in the background this waits until runc has ended
- runc: start c-${scenario.unique}
  expect: {exit: 0, log: []}
- join: out                             # ends when nobody can write to the pipes any more
  expect: {stdout: ""}
- runc: delete c-${scenario.unique}

- background: events
  grpc: Events/Subscribe
- grpc: Containers/Create
  json:
    container:
      id: x
      spec: {"@type": types.containerd.io/opencontainers/runtime-spec/1/Spec, value: {ociVersion: 1.0.2}}
  expect: {status: OK, response: {container: {id: x, created_at: !time }}}
- await: events
  expect: {responses: [{topic: /containers/create}]}
- disconnect: events

- ttrpc: State                          # of the shim of a container that dockerd has started
  shim: ${id}
  namespace: moby
  json: {id: "${id}"}
  expect: {status: OK, response: {status: RUNNING}}
```

- A foreground `runc` step ends with runc: what its container writes later goes nowhere. `stdout` and `stderr` of a step in
  the background include it.
- A container's control group is below the stack's own unless `config` says otherwise.
- Every call goes where the stack's own callers go, so where a hop is tapped its message is on that hop as well.
- What is left at the end is removed and fails the scenario: containers in the scenario's --root, and containers, tasks,
  images, leases, snapshots, content and uploads in containerd. So delete them, in `cleanup` where a step between may fail.
"""


def language_reference() -> str:
    """Return docs/scenario-language.md."""
    parts = [_INTRODUCTION, "| matcher | argument | holds for |\n|---|---|---|\n"]
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
    parts += [_DIRECT, "\n### Bodies\n\n", BODY.doc, "\n\n", _table(BODY)]
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
