"""The language and its scenarios in words: `sixhops explain`, and docs/scenario-language.md.

`python -m sixhops.harness.scenario.explain FILE` writes the reference.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.match import render
from sixhops.harness.match.matchers import MATCHERS
from sixhops.harness.scenario.grammar import (
    ACTIONS,
    BODY,
    FACETS,
    HOPS,
    SCENARIO,
    Choice,
    Data,
    Either,
    Key,
    Kind,
    ListOf,
    MapOf,
    Record,
    step_record,
)
from sixhops.harness.scenario.model import (
    AwaitStep,
    CloseStdinStep,
    DisconnectStep,
    DockerStep,
    FileStep,
    JoinStep,
    ProcessesStep,
    RegistryStep,
    RequestStep,
    SendStep,
    Template,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.scenario.model import ApiRange, FaultRule, Requires, Scenario, Step

__all__ = ["explain", "language_reference"]

_WIDE: Final = 100


def explain(scenario: Scenario) -> str:
    """Return a numbered account of a scenario: what is given, what is done, what must be seen on which hop."""
    lines = [scenario.title, f"  {scenario.id}  ({scenario.path})"]
    if scenario.description:
        lines += ["", *scenario.description.strip().splitlines()]
    given = [*_given(scenario)]
    if given:
        lines += ["", "Given"]
        lines += [f"  - {line}" for line in given]
    lines += ["", "Steps"]
    for step in scenario.steps:
        lines += _step(step)
    if scenario.cleanup:
        lines += ["", "Afterwards, whatever happened"]
        for step in scenario.cleanup:
            lines += _step(step)
    if scenario.refs:
        lines += ["", f"Covers {', '.join(scenario.refs)}"]
    return "\n".join(lines) + "\n"


def _given(scenario: Scenario) -> Iterator[str]:
    yield from _needs(scenario.requires)
    for use in scenario.images.values():
        where = "on the engine and" if use.present else "not on the engine, but"
        if use.served:
            yield f"the image {use.recipe} is {where} in the registry"
        else:
            yield f"the image {use.recipe} is {'on the engine, and not in the registry' if use.present else 'nowhere'}"
    for name, value in scenario.row.items():
        yield f"row.{name} is {render(value)}"
    for name, value in scenario.vars.items():
        yield f"{name} is {render(value)}"
    for rule in scenario.registry_faults:
        yield _fault(rule)


def _needs(requires: Requires) -> Iterator[str]:
    if requires.api.low is not None or requires.api.high is not None:
        yield f"an engine with API {_range(requires.api)}"
    if requires.root:
        yield "an engine that runs as root"
    if requires.cgroup is not None:
        yield f"cgroups version {requires.cgroup}"
    if requires.hops:
        yield f"a target that shows the hops {', '.join(sorted(requires.hops))}"
    if requires.programs:
        yield f"a target with {', '.join(sorted(requires.programs))}"


def _range(versions: ApiRange) -> str:
    low = ".".join(map(str, versions.low)) if versions.low else ""
    high = ".".join(map(str, versions.high)) if versions.high else ""
    if low == high:
        return low
    if not high:
        return f"{low} or later"
    return f"{high} or earlier" if not low else f"{low} to {high}"


def _fault(rule: FaultRule) -> str:
    what = {
        "status": f"is answered with {rule.status}",
        "cut": f"is cut off after {rule.cut} bytes of the body",
        "corrupt": f"gets a flipped byte at offset {rule.corrupt} of the body",
        "delay": f"is answered {rule.delay} s late",
        "length": f"is declared to be {rule.length} bytes long",
    }
    action = next(text for name, text in what.items() if getattr(rule, name) is not None)
    method = "every request" if rule.method == "*" else rule.method
    times = "" if rule.times is None else f", {rule.times} times"
    after = f", after the first {rule.after}" if rule.after else ""
    return f"the registry misbehaves: {method} {render(rule.path).strip(chr(34))} {action}{times}{after}"


def _step(step: Step) -> list[str]:
    head = _action(step)
    named = f"{step.name}: {head}" if step.name not in head else head
    lines = [f"  {step.index + 1}. {named}"]
    if step.background is not None:
        lines.append(f"     it goes on in the background as {step.background}")
    lines += [f"     with {line}" for line in _details(step)]
    if step.eventually is not None:
        lines.append(f"     repeated until what follows holds, for at most {step.eventually.timeout:g} s")
        lines += [
            f"     given up when {line}"
            for e in step.eventually.fail_if
            for line in _expectation(e.facet, e.value)
        ]
    for expectation in step.expect:
        lines += [f"     expect {line}" for line in _expectation(expectation.facet, expectation.value)]
    for save in step.save:
        part = f", the part that matches {save.pattern!r}" if save.pattern else ""
        lines.append(f"     save {save.source}{part} as {save.name}")
    return lines


def _action(step: Step) -> str:
    match step:
        case RequestStep():
            version = f" (API {step.api})" if step.api else " (no version)"
            return f"{step.method} {_bare(step.path)}{version}"
        case RegistryStep():
            return f"{step.method} {_bare(step.path)}, straight to the registry"
        case DockerStep():
            return "docker " + " ".join(map(_bare, step.argv))
        case ProcessesStep():
            chosen = ", ".join(f"{key} {render(value)}" for key, value in step.select.items())
            return f"look at the processes with {chosen}" if chosen else "look at all processes"
        case FileStep():
            return f"look at the file {_bare(step.path)}"
        case JoinStep():
            return f"wait for the end of {step.target}"
        case AwaitStep():
            return f"wait for what is expected of {step.target}"
        case SendStep():
            return f"write {render(step.data)} to {step.target}"
        case CloseStdinStep():
            return f"close the stdin of {step.target}"
        case DisconnectStep():
            return f"cut the connection of {step.target}"
        case _:
            return type(step).__name__


def _details(step: Step) -> Iterator[str]:
    if isinstance(step, RequestStep | RegistryStep):
        for key, value in step.query.items():
            yield f"the query parameter {key}={_bare(value)}"
        for key, value in step.headers.items():
            yield f"the header {key}: {_bare(value)}"
        if step.has_json:
            yield f"the JSON {render(step.json)}"
        if step.body is not None:
            yield f"the body {render(step.body)}"
    if isinstance(step, RequestStep):
        if step.tar is not None:
            yield f"a tar archive of {render(step.tar)}"
        if step.auth is not None:
            yield "registry credentials"
        if step.upgrade is not None:
            yield f"an upgrade of the connection to {step.upgrade}"
        if step.tty:
            yield "an answer that is a terminal's stream"
    if isinstance(step, RequestStep | DockerStep) and step.stdin is not None:
        open_after = isinstance(step, RequestStep) and not step.half_close
        yield f"the input {render(step.stdin)}{', left open' if open_after else ''}"
    if isinstance(step, DockerStep):
        for key, value in step.env.items():
            yield f"{key}={_bare(value)} in the environment"
        if step.tty is not None:
            yield f"a terminal of {step.tty.rows} rows and {step.tty.columns} columns"


def _expectation(facet: str, value: Any) -> list[str]:
    subject = f"on the {facet} hop" if facet in HOPS else facet
    text = render(value)
    if len(text) <= _WIDE:
        return [f"{subject}: {text}"]
    if isinstance(value, list):
        return [f"{subject}:", *(f"  - {render(item)}" for item in value)]
    if isinstance(value, dict):
        return [f"{subject}:", *(f"  {key}: {render(item)}" for key, item in value.items())]
    return [f"{subject}: {text}"]


def _bare(value: Any) -> str:
    if isinstance(value, Template):
        return value.text
    return value if isinstance(value, str) else render(value)


# the reference -----------------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = """\
# The scenario language

<!-- Made by `python -m sixhops.harness.scenario.explain docs/scenario-language.md`; change the grammar, not this file. -->

A scenario is one YAML file: what is given, what is done step by step, and what each hop must show. `sixhops lint` checks
files, `sixhops explain` tells what one does, and `scenarios/schema.json` is for editors.

The YAML is YAML 1.2's common core: `yes`, `no`, `on`, `off`, dates and numbers with leading zeros are text. There is one document
in a file, and it has no anchors or aliases (use `vars`). Keys are text and stand once. Write `!any }` and not `!any}`: YAML would
read the brace as part of the tag. Inside `{...}` and `[...]`, put `"${name}"` in quotes.

## How values are compared

- Types count: `1` is not `true`, not `"1"` and not `1.0`.
- A mapping holds when the keys that it names hold; others may stand beside them. `{}` holds for an empty mapping only.
- A list holds when it has these elements in this order. `!some` stands for any number of elements.
- The messages of a hop hold when the listed ones are among them, in this order. `[]` or `!none` means that there were none. A `!not`
  element forbids what it names between its neighbours. A message is written as its line, such as
  `GET /v2/ -> 200`, or as a mapping of its fields: method, path, query, status, request_headers, response_headers, request_body,
  response_body, request_json, response_json.
- Text is compared with bytes as UTF-8. Header names are compared in lower case.
- An empty text, `null` and a key that is not there are three different things.

## Variables

`${name}` stands anywhere in a value, and not in keys. A value that is one `${name}` alone keeps its type; inside a longer text it
becomes text. `$${` is a plain `${`. Paths go on with dots, `[0]`, `[-1]` and `["any key"]`.

| root | what it holds |
|---|---|
| `images.RECIPE` | what is known of an image named in `images`: digest, id, layers and more |
| `target` | what is known of the target |
| `row` | the row of the `for` table |
| `scenario.unique` | a short text that no other run has, for names; `scenario.id` is the scenario's id |
| any other name | from `vars`, or from the `save` of an earlier step |

`save: {id: $.Id}` takes a part of the JSON body; `$stdout`, `$headers.location` and `$stream[0].id` take other facets, and `$registry[0].path`
a message. `{from: $stdout, re: "id=(.*)"}` takes the first group of a regular expression.

## Matchers

A matcher stands anywhere in an expectation, also inside another one. YAML allows one tag for a value, so a matcher
directly in a matcher is written with a colon: `!not:contains "x"`, `!each:re "^a"`.

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
        "\n## Steps\n\nA step has one of these keys, and says what is done.\n\n| action | takes | meaning |\n|---|---|---|\n"
    )
    parts += [f"| `{name}` | {_cell(key.kind.what)} | {_cell(key.doc)} |\n" for name, key in ACTIONS.items()]
    parts.append("\nBeside it:\n\n| key | in steps | takes | meaning |\n|---|---|---|---|\n")
    parts += _modifiers()
    parts.append(
        "\nThere is no step that sleeps: use `background` with `join` and `await`, or `eventually`.\n"
    )
    parts += ["\n### Bodies\n\n", BODY.doc, "\n\n", _table(BODY)]
    seen = [record for name in ("send", "docker", "request") for record in _inner(name)]
    for record in {record.name: record for record in seen}.values():
        parts += [f"\n### A {record.name}\n\n{record.doc}\n\n", _table(record)]
    parts.append("\n## What can be expected\n\n| in `expect` of | facet | what it is |\n|---|---|---|\n")
    for kind_name, facets in FACETS.items():
        if kind_name not in ("join", "await"):
            parts += [f"| `{kind_name}` | `{facet}` | {_cell(doc)} |\n" for facet, doc in facets.items()]
    hops = ", ".join(f"`{hop}`" for hop in HOPS)
    parts.append(
        f"\n`join` and `await` look at what the background step's kind has. Every one of them also has the hops {hops}"
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
