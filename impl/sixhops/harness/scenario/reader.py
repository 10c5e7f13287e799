"""Nodes to checked data: every key, type, pattern and matcher argument of a file is held against the grammar.

A `Reader` collects errors instead of raising them, so that an author sees all of them at once; what is wrong
becomes `BAD` and is left out. Matchers and templates become model values here, since only here their places
are known.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.match.matchers import MATCHERS
from sixhops.harness.match.values import type_name
from sixhops.harness.scenario.grammar import ACTIONS, step_record
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
    Whole,
)
from sixhops.harness.scenario.model import Matcher, Template
from sixhops.harness.scenario.nodes import MAX_DEPTH, is_plain, mark_of, scalar
from sixhops.harness.scenario.variables import nearest, parse_template

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BAD", "Fields", "Reader", "StepFields"]


class _Bad:
    def __repr__(self) -> str:
        return "BAD"


# Stands for a value that has been reported as wrong.
BAD: Final = _Bad()

_SCALAR_TAG: Final = "tag:yaml.org,2002:str"
_PLAIN_TAGS: Final = frozenset({_SCALAR_TAG, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})
_ALL_STEP_KEYS: Final = sorted({key for kind in ACTIONS for key in step_record(kind).keys})
_patterns = lru_cache(maxsize=256)(re.compile)


class Fields(dict[str, Any]):
    """A mapping that was read, with the places of the whole and of each key. Wrong values are left out, their
    marks stay.
    """

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark
        self.marks: dict[str, Mark] = {}


class StepFields(Fields):
    """A step that was read: its kind (None when that is wrong) and every template in it, in order."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark)
        self.kind: str | None = None
        self.templates: list[Template] = []


class Reader:
    """Reads the nodes of one file. `errors` grows; `templates` are those met since it was last emptied."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: list[ScenarioError] = []
        self.templates: list[Template] = []

    def error(self, message: str, where: Node | Mark) -> _Bad:
        """Note an error and return BAD."""
        self.errors.append(
            ScenarioError(message, where if isinstance(where, Mark) else mark_of(where, self.name))
        )
        return BAD

    def read(self, kind: Kind, node: Node, what: str = "this", depth: int = 0) -> Any:
        """Return the value of `node` as `kind` wants it, or BAD with errors noted. `what` names it in
        messages.
        """
        if depth > MAX_DEPTH:
            return self.error(f"values are nested more than {MAX_DEPTH} deep", node)
        if isinstance(kind, Data):
            return self._read_data(kind, node, what, depth)
        if isinstance(kind, Either):
            return self._read_either(kind, node, what, depth)
        if isinstance(kind, ListOf):
            return self._read_list(kind, node, what, depth)
        if node.tag not in _PLAIN_TAGS:
            return self.error(f"{what} takes no tag ({_tag(node)}); it must be {kind.what}", node)
        if isinstance(kind, Record):
            return (
                self.read_step(node, depth)
                if kind.name == "step"
                else self.read_record(kind, node, what, depth)
            )
        if isinstance(kind, MapOf):
            return self._read_map(kind, node, what, depth)
        return self._read_scalar(kind, node, what)

    def read_record(
        self, kind: Record, node: Node, what: str, depth: int = 0, into: Fields | None = None
    ) -> Any:
        """Return the Fields of a mapping with known keys."""
        if not isinstance(node, MappingNode):
            return self.error(f"{what} must be {kind.what}, a mapping, not {_shape(node)}", node)
        fields = into if into is not None else Fields(mark_of(node, self.name))
        for key, key_node, item in self._pairs(node):
            fields.marks[key] = mark_of(key_node, self.name)
            entry = kind.keys.get(key)
            if entry is None:
                self._unknown(key, key_node, kind)
                continue
            value = self.read(entry.kind, item, key, depth + 1)
            if value is not BAD:
                fields[key] = value
        for key, entry in kind.keys.items():
            if entry.required and key not in fields.marks:
                self.error(f"{kind.what} needs the key {key}", node)
        self._check_groups(kind, fields, node)
        return fields

    def read_step(self, node: Node, depth: int = 0) -> Any:
        """Return the StepFields of one step."""
        if not isinstance(node, MappingNode):
            return self.error(f"a step is a mapping, not {_shape(node)}", node)
        fields = StepFields(mark_of(node, self.name))
        names = [key.value for key, _ in node.value if isinstance(key, ScalarNode)]
        actions = [name for name in dict.fromkeys(names) if name in ACTIONS]
        if len(actions) == 1:
            fields.kind = actions[0]
            around, self.templates = self.templates, fields.templates
            self.read_record(step_record(actions[0]), node, "a step", depth, into=fields)
            self.templates = around
            return fields
        if actions:
            second = next(key for key, _ in node.value if key.value == actions[1])
            self.error(f"a step does one thing; this one has {' and '.join(actions)}", second)
            return fields
        unknown = [
            key for key, _ in node.value if isinstance(key, ScalarNode) and key.value not in _ALL_STEP_KEYS
        ]
        for key in unknown:
            self.error(f"unknown key {key.value} in a step{nearest(key.value, _ALL_STEP_KEYS)}", key)
        if not unknown:
            self.error(f"a step needs one of {', '.join(ACTIONS)}", node)
        return fields

    def value(self, node: Node, *, matchers: bool = False, depth: int = 0) -> Any:
        """Return any YAML value as a Value; BAD parts are noted and become None inside it."""
        return self._value(node, matchers, depth, False)

    # kinds ----------------------------------------------------------------------------------------

    def _read_data(self, kind: Data, node: Node, what: str, depth: int) -> Any:
        if kind.mapping and not isinstance(node, MappingNode):
            value = scalar(node) if kind.templates and isinstance(node, ScalarNode) else None
            if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
                return self._template(value, node)
            return self.error(f"{what} must be {kind.what}, not {_shape(node)}", node)
        if kind.places:
            return self._placed(node, depth)
        return self._value(node, kind.matchers, depth, False)

    def _read_either(self, kind: Either, node: Node, what: str, depth: int) -> Any:
        fitting = [option for option in kind.kinds if isinstance(node, _SHAPES[type(option)])]
        if len(fitting) == 1 and not isinstance(fitting[0], Text | Choice):
            return self.read(fitting[0], node, what, depth)
        before = len(self.errors), len(self.templates)
        for option in fitting:
            value = self.read(option, node, what, depth)
            if value is not BAD:
                return value
            del self.errors[before[0] :], self.templates[before[1] :]
        return self.error(f"{what} must be {kind.what}, not {_say(node)}", node)

    def _read_list(self, kind: ListOf, node: Node, what: str, depth: int) -> Any:
        if not isinstance(node, SequenceNode):
            if kind.single:
                item = self.read(kind.item, node, what, depth)
                return BAD if item is BAD else [item]
            return self.error(f"{what} must be {kind.what}, not {_shape(node)}", node)
        if node.tag not in _PLAIN_TAGS:
            return self.error(f"{what} takes no tag ({_tag(node)}); it must be {kind.what}", node)
        if len(node.value) < kind.least:
            return self.error(f"{what} is empty; it must be {kind.what} with at least {kind.least}", node)
        items = [self.read(kind.item, item, f"an element of {what}", depth + 1) for item in node.value]
        return [item for item in items if item is not BAD]

    def _read_map(self, kind: MapOf, node: Node, what: str, depth: int) -> Any:
        if not isinstance(node, MappingNode):
            return self.error(f"{what} must be {kind.what}, not {_shape(node)}", node)
        fields = Fields(mark_of(node, self.name))
        pattern = _patterns(kind.key)
        for key, key_node, item in self._pairs(node):
            fields.marks[key] = mark_of(key_node, self.name)
            if not pattern.fullmatch(key):
                self.error(f"{key!r} in {what} is not {kind.key_what}", key_node)
                continue
            value = self.read(kind.item, item, key, depth + 1)
            if value is not BAD:
                fields[key] = value
        if kind.one and len(node.value) != 1:
            return self.error(f"{what} must have one key, not {len(node.value)}", node)
        if kind.one and not fields:
            return BAD
        return fields

    def _read_scalar(self, kind: Text | Flag | Whole | Choice | Nothing, node: Node, what: str) -> Any:
        if not isinstance(node, ScalarNode):
            return self.error(f"{what} must be {kind.what}, not {_shape(node)}", node)
        value = scalar(node)
        if isinstance(kind, Text):
            return self._text(kind, value, node, what)
        if isinstance(kind, Choice):
            good = isinstance(value, str) and value in kind.words
            hint = nearest(str(value), list(kind.words)) if not good else ""
            return value if good else self.error(f"{what} must be {kind.what}, not {_say(node)}{hint}", node)
        if isinstance(kind, Flag):
            good = isinstance(value, bool)
        elif isinstance(kind, Whole):
            if kind.templates and isinstance(value, str) and value.startswith("${row."):
                return self._template(value, node)
            good = isinstance(value, int) and not isinstance(value, bool) and value >= kind.least
        else:
            good = value is None
        return value if good else self.error(f"{what} must be {kind.what}, not {_say(node)}", node)

    def _text(self, kind: Text, value: Any, node: Node, what: str) -> Any:
        if not isinstance(value, str):
            quote = f'; in quotes it would be text: "{node.value}"' if node.value else ""
            return self.error(f"{what} must be {kind.what}, not {_say(node)}{quote}", node)
        if kind.pattern and not _patterns(kind.pattern).fullmatch(value):
            return self.error(f"{what} must be {kind.what}, not {_say(node)}", node)
        if kind.templates and "${" in value:
            return self._template(value, node)
        return value

    # any values -----------------------------------------------------------------------------------

    def _value(self, node: Node, matchers: bool, depth: int, in_list: bool) -> Any:
        if depth > MAX_DEPTH:
            return self.error(f"values are nested more than {MAX_DEPTH} deep", node)
        if node.tag not in _PLAIN_TAGS:
            return self._matcher(node, matchers, depth, in_list)
        return self._untagged(node, matchers, depth)

    def _untagged(self, node: Node, matchers: bool, depth: int) -> Any:
        if isinstance(node, ScalarNode):
            value = scalar(node)
            return self._template(value, node) if isinstance(value, str) and "${" in value else value
        if isinstance(node, SequenceNode):
            return [self._value(item, matchers, depth + 1, True) for item in node.value]
        assert isinstance(node, MappingNode)
        return {key: self._value(item, matchers, depth + 1, False) for key, _, item in self._pairs(node)}

    def _placed(self, node: Node, depth: int) -> Any:
        """Return a value without matchers whose mappings are Fields."""
        if depth > MAX_DEPTH or node.tag not in _PLAIN_TAGS or isinstance(node, ScalarNode):
            return self._value(node, False, depth, False)
        if isinstance(node, SequenceNode):
            return [self._placed(item, depth + 1) for item in node.value]
        assert isinstance(node, MappingNode)
        fields = Fields(mark_of(node, self.name))
        for key, key_node, item in self._pairs(node):
            fields.marks[key] = mark_of(key_node, self.name)
            fields[key] = self._placed(item, depth + 1)
        return fields

    def _matcher(self, node: Node, matchers: bool, depth: int, in_list: bool) -> Any:
        tag = _tag(node)
        mark = mark_of(node, self.name)
        names = tag[1:].split(":") if tag.startswith("!") and not tag.startswith("!!") else []
        for name in names:
            if name not in MATCHERS:
                return self.error(f"there is no matcher !{name}{nearest(name, list(MATCHERS))}", mark)
        if not names:
            return self.error(f"the tag {tag} is not part of the language", mark)
        if not matchers:
            return self.error(f"{tag} is a matcher, and matchers only stand in expectations", mark)
        empty = isinstance(node, ScalarNode) and node.value == "" and is_plain(node)
        before = len(self.errors)
        argument = None if empty else self._untagged(node, True, depth)
        if len(self.errors) > before:
            return BAD
        for position, name in reversed(list(enumerate(names))):
            inner = position < len(names) - 1
            problem = _check(name, argument, present=inner or not empty, chained=inner)
            if name == "some" and (position or not in_list):
                problem = "it only stands among the elements of a list"
            if problem:
                return self.error(f"bad matcher !{name}: {problem}", mark)
            argument = Matcher(name, argument, mark)
        return argument

    def _template(self, text: str, node: Node) -> Any:
        try:
            parts = parse_template(text)
        except ValueError as error:
            return self.error(f"bad variable: {error}", node)
        if len(parts) == 1 and isinstance(parts[0], str):
            return parts[0]
        template = Template(text, mark_of(node, self.name))
        self.templates.append(template)
        return template

    # keys -----------------------------------------------------------------------------------------

    def _pairs(self, node: MappingNode) -> Iterator[tuple[str, Node, Node]]:
        lines: dict[str, int] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag != _SCALAR_TAG:
                self.error("a key must be text", key_node)
                continue
            key = key_node.value
            if not key_node.style and not isinstance(scalar(key_node), str):
                self.error(
                    f'a key must be text, not {_say(key_node)}; in quotes it would be: "{key}"', key_node
                )
                continue
            if "${" in key:
                self.error("variables are not replaced in keys", key_node)
                continue
            if key in lines:
                self.error(f"the key {key} is there twice, first at line {lines[key]}", key_node)
                continue
            lines[key] = key_node.start_mark.line + 1
            yield key, key_node, item

    def _unknown(self, key: str, node: Node, kind: Record) -> None:
        owners = (
            [name for name in ACTIONS if key in step_record(name).keys] if kind.name.endswith(" step") else []
        )
        if owners:
            self.error(f"{key} is not for {kind.what}; it is for {', '.join(owners)}", node)
        else:
            self.error(f"unknown key {key} in {kind.what}{nearest(key, list(kind.keys))}", node)

    def _check_groups(self, kind: Record, fields: Fields, node: Node) -> None:
        if kind.one_of:
            there = [key for key in kind.one_of if key in fields.marks]
            if not there:
                self.error(f"{kind.what} needs one of {', '.join(kind.one_of)}", node)
            for key in there[1:]:
                self.error(
                    f"{kind.what} has one of {', '.join(kind.one_of)}; {there[0]} is there already",
                    fields.marks[key],
                )
        there = [key for key in kind.at_most_one if key in fields.marks]
        for key in there[1:]:
            self.error(
                f"{key} can't stand beside {there[0]}: only one of them is the body", fields.marks[key]
            )


_SHAPES: Final[dict[type, tuple[type, ...]]] = {
    Record: (MappingNode,),
    MapOf: (MappingNode,),
    ListOf: (SequenceNode,),
    Text: (ScalarNode,),
    Flag: (ScalarNode,),
    Nothing: (ScalarNode,),
    Whole: (ScalarNode,),
    Choice: (ScalarNode,),
    Data: (MappingNode,),
}


def _check(name: str, argument: Any, *, present: bool, chained: bool) -> str | None:
    kind = MATCHERS[name]
    if kind.argument == "none" and present:
        return "it can hold no matcher" if chained else "it takes nothing; drop what follows"
    if kind.argument == "required" and not present:
        return f"it takes {kind.takes}"
    if chained and not kind.nested:
        return f"it can hold no matcher; it takes {kind.takes or 'nothing'}"
    return kind.check(argument) if kind.check and present else None


def _tag(node: Node) -> str:
    tag = str(node.tag)
    return tag.replace("tag:yaml.org,2002:", "!!")


def _shape(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else _say(node)


def _say(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return _shape(node)
    value = scalar(node)
    text = node.value if len(node.value) <= 60 else f"{node.value[:57]}..."
    if isinstance(value, str):
        return f'"{text}"' if text else "empty text"
    if value is None:
        return "nothing (null)"
    return f"the {type_name(value)} {text}"
