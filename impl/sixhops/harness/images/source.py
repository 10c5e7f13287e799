"""YAML with places: plain values that remember where each of them was written.

A `Cursor` is a value and its place. Readers of recipes take values out of cursors and never out of YAML
nodes, so the same readers serve a recipe file and the `tar:` body of a scenario step, whose values are
already plain data.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario import nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["Cursor", "parse_yaml"]

_KINDS = {dict: "a mapping", list: "a list", str: "a string", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Cursor:
    """A value with the place where it stands; `key_marks` has the places of a mapping's keys."""

    value: Any
    mark: Mark
    where: str = ""
    key_marks: Mapping[str, Mark] | None = None

    @classmethod
    def of_data(cls, value: object, mark: Mark, where: str = "") -> Cursor:
        """Wrap plain data, all of which was written at `mark`."""
        if isinstance(value, dict):
            return cls(
                {str(key): cls.of_data(item, mark, str(key)) for key, item in value.items()}, mark, where, {}
            )
        if isinstance(value, list):
            return cls(
                [cls.of_data(item, mark, f"{where}[{at}]") for at, item in enumerate(value)], mark, where
            )
        return cls(value, mark, where)

    def fail(self, message: str) -> NoReturn:
        """Raise ScenarioError at this place."""
        raise ScenarioError(f"{self.where}: {message}" if self.where else message, self.mark)

    def mapping(self, allowed: Collection[str]) -> dict[str, Cursor]:
        """Return the members; a key outside of `allowed` is an error that names the nearest one."""
        members = self._typed(dict)
        for key in members:
            if key not in allowed:
                near = difflib.get_close_matches(key, list(allowed), 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(allowed))}"
                raise ScenarioError(f"unknown key {key!r}{hint}", (self.key_marks or {}).get(key, self.mark))
        return dict(members)

    def members(self) -> dict[str, Cursor]:
        """Return the members of a mapping whose keys the author chooses."""
        return dict(self._typed(dict))

    def items(self) -> Iterator[Cursor]:
        """Return the elements of a list."""
        return iter(self._typed(list))

    def text(self) -> str:
        """Return a string."""
        return str(self._typed(str))

    def flag(self) -> bool:
        """Return true or false."""
        return bool(self._typed(bool))

    def number(self, low: int = 0, high: int = 2**63 - 1) -> int:
        """Return a whole number within bounds, both included."""
        found = int(self._typed(int))
        if not low <= found <= high:
            self.fail(f"{found} is not between {low} and {high}")
        return found

    def choice(self, allowed: Collection[str]) -> str:
        """Return a string that is one of `allowed`."""
        found = self.text()
        if found not in allowed:
            near = difflib.get_close_matches(found, list(allowed), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.fail(f"{found!r} is none of {', '.join(sorted(allowed))}{hint}")
        return found

    def texts(self) -> list[str]:
        """Return a list of strings."""
        return [item.text() for item in self.items()]

    def text_map(self) -> dict[str, str]:
        """Return a mapping of strings to strings."""
        return {key: item.text() for key, item in self.members().items()}

    def is_a(self, kind: type) -> bool:
        """Tell the kind of value; true is no number."""
        return isinstance(self.value, kind) and not (kind is int and isinstance(self.value, bool))

    def _typed(self, kind: type) -> Any:
        if not self.is_a(kind):
            seen = (
                "nothing" if self.value is None else _KINDS.get(type(self.value), type(self.value).__name__)
            )
            self.fail(f"expected {_KINDS[kind]}, found {seen}")
        return self.value


def parse_yaml(text: str, path: str) -> Cursor:
    """Read one YAML document with the scenario language's own reader, so that both kinds of file follow one
    YAML.

    Raises ScenarioError for bad YAML, duplicate keys, keys that are no strings, anchors and tags.
    """
    return _read(nodes.compose(text, path), path, "", 0)


def _read(node: yaml.Node, path: str, where: str, depth: int) -> Cursor:
    mark = nodes.mark_of(node, path)
    if node.tag.startswith("!"):
        raise ScenarioError(f"tags ({node.tag}) have no meaning in a recipe", mark)
    if depth > nodes.MAX_DEPTH:
        raise ScenarioError(f"values are nested more than {nodes.MAX_DEPTH} deep", mark)
    if isinstance(node, yaml.SequenceNode):
        items = [_read(item, path, f"{where}[{at}]", depth + 1) for at, item in enumerate(node.value)]
        return Cursor(items, mark, where)
    if isinstance(node, yaml.ScalarNode):
        return Cursor(nodes.scalar(node), mark, where)
    members: dict[str, Cursor] = {}
    marks: dict[str, Mark] = {}
    for key_node, item in node.value:
        at = nodes.mark_of(key_node, path)
        if not isinstance(key_node, yaml.ScalarNode):
            raise ScenarioError("a key must be a string", at)
        key = str(key_node.value)
        if key in members:
            raise ScenarioError(f"duplicate key {key!r}, first in line {marks[key].line}", at)
        marks[key] = at
        members[key] = _read(item, path, key, depth + 1)
    return Cursor(members, mark, where, marks)
