"""The JSON Schema of scenario files, made from the grammar, for editors.

A YAML tag is invisible to JSON Schema: a matcher is seen as its argument, so wherever matchers may stand the
schema accepts any value. The schema is never stricter than the loader; the loader also knows what no schema
can say (variables, background names). `python -m sixhops.harness.scenario.schema FILE` writes it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from sixhops.harness.scenario.grammar import ACTIONS, SCENARIO, step_record
from sixhops.harness.scenario.kinds import (
    Choice,
    Data,
    Either,
    Flag,
    Kind,
    ListOf,
    MapOf,
    Nothing,
    Record,
    Text,
)

__all__ = ["json_schema", "schema_text"]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema of one scenario file, draft 2020-12."""
    definitions = {kind.replace("_", "-") + "-step": _record(step_record(kind)) for kind in ACTIONS}
    choices = [{"required": [kind]} for kind in ACTIONS]
    definitions["step"] = {
        "type": "object",
        "description": "One step: one action, and what goes with it.",
        "properties": {kind: {"description": key.doc} for kind, key in ACTIONS.items()},
        "oneOf": choices,
        # One branch for each action, so that an editor's message is about the step that was meant.
        "allOf": [
            {"if": {"required": [kind]}, "then": {"$ref": f"#/$defs/{kind.replace('_', '-')}-step"}}
            for kind in ACTIONS
        ],
    }
    return {"$schema": _DRAFT, "title": "sixhops scenario", **_record(SCENARIO), "$defs": definitions}


def schema_text() -> str:
    """Return the schema as it is checked in."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, Record):
        return {"$ref": "#/$defs/step"} if kind.name == "step" else _record(kind)
    if isinstance(kind, Either):
        return {"anyOf": [_schema(option) for option in kind.kinds]}
    if isinstance(kind, ListOf):
        items: dict[str, Any] = {"type": "array", "items": _schema(kind.item)}
        if kind.least:
            items["minItems"] = kind.least
        return {"anyOf": [_schema(kind.item), items]} if kind.single else items
    if isinstance(kind, MapOf):
        mapping: dict[str, Any] = {"type": "object", "additionalProperties": _schema(kind.item)}
        if not kind.key.startswith("(?s)"):
            mapping["propertyNames"] = {"pattern": f"^(?:{kind.key})$"}
        if kind.one:
            mapping |= {"minProperties": 1, "maxProperties": 1}
        return mapping
    if isinstance(kind, Data):
        if not kind.mapping or kind.matchers:
            return {}
        mapping_type: dict[str, Any] = {"type": "object"}
        variable = {"type": "string", "pattern": r"^\$\{[\s\S]*\}$"}
        return {"anyOf": [mapping_type, variable]} if kind.templates else mapping_type
    if isinstance(kind, Choice):
        return {"enum": list(kind.words)}
    if isinstance(kind, Text):
        return _text(kind)
    if isinstance(kind, Flag | Nothing):
        return {"type": "boolean" if isinstance(kind, Flag) else "null"}
    whole = {"type": "integer", "minimum": getattr(kind, "least", 0)}
    return (
        {"anyOf": [whole, {"type": "string", "pattern": r"^\$\{row\."}]}
        if getattr(kind, "templates", False)
        else whole
    )


def _text(kind: Text) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string", "description": kind.what}
    if kind.pattern:
        # Python's inline flag for "dot matches line ends" is [\s\S] in the dialect of JSON Schema.
        pattern = kind.pattern.replace("(?s:.*)", r"[\s\S]*").replace("(?s:.+)", r"[\s\S]+")
        if pattern.startswith("(?s)"):
            pattern = pattern.removeprefix("(?s)").replace(".*", r"[\s\S]*").replace(".+", r"[\s\S]+")
        text["pattern"] = f"^(?:{pattern})$"
    return text


def _record(kind: Record) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "description": kind.doc,
        "properties": {
            name: {**_schema(key.kind), "description": key.doc} for name, key in kind.keys.items()
        },
        "additionalProperties": False,
    }
    required = [name for name, key in kind.keys.items() if key.required]
    if required:
        schema["required"] = required
    rules: list[dict[str, Any]] = []
    if kind.one_of:
        rules.append({"oneOf": [{"required": [name]} for name in kind.one_of]})
    there = [name for name in kind.at_most_one if name in kind.keys]
    rules += [
        {"not": {"required": [one, other]}} for index, one in enumerate(there) for other in there[index + 1 :]
    ]
    if rules:
        schema["allOf"] = rules
    return schema


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
