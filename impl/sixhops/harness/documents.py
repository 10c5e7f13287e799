"""YAML files that are not scenarios (requirements, engine profiles, counts), read so that every value knows
its place.

A document is a tree of `Node`s, each with its `Mark`; a key that stands twice is an error. What the keys mean
is the caller's business.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario.nodes import compose, mark_of, read_text, scalar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Node", "nearest", "read_document", "shown_path"]


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document, and where it stands: a scalar, a list of nodes, or a dictionary of nodes."""

    value: Any
    mark: Mark

    def mapping(self, what: str, known: Collection[str] | None = None) -> dict[str, Node]:
        """Return the dictionary that `what` must be; with `known` given, any other key is a ScenarioError."""
        if not isinstance(self.value, dict):
            raise ScenarioError(f"{what} must be a mapping, not {self.kind}", self.mark)
        if known is not None:
            for key, node in self.value.items():
                if key not in known:
                    raise ScenarioError(f"unknown key {key!r} in {what}{nearest(key, known)}", node.mark)
        return self.value

    def items(self, what: str) -> list[Node]:
        """Return the list that `what` must be, or raise ScenarioError."""
        if not isinstance(self.value, list):
            raise ScenarioError(f"{what} must be a list, not {self.kind}", self.mark)
        return self.value

    def text(self, what: str) -> str:
        """Return the text that `what` must be: not empty, and not a number that YAML has made of it."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise ScenarioError(f"{what} must be a text that is not empty, not {self.kind}", self.mark)
        return self.value

    def number(self, what: str) -> int:
        """Return the whole number, zero or more, that `what` must be, or raise ScenarioError."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 0:
            raise ScenarioError(f"{what} must be a whole number, not {self.kind}", self.mark)
        return self.value

    @property
    def kind(self) -> str:
        """What the value is, in the words of a message."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.value is None else repr(self.value)


def shown_path(path: Path) -> str:
    """Return `path` as messages show it: relative to the working directory when it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown `name`: the name that is most like it, or nothing."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def read_document(path: Path) -> Node:
    """Return the one YAML document in the file at `path`, read by the rules of scenario files
    (`scenario.nodes`).

    Raises ScenarioError with file, line and column for bad YAML, an empty file, tags, repeated keys, and keys
    that are neither text nor number (numbers become text: a status code may stand as a key without quotes).
    """
    shown = shown_path(path)
    return _convert(compose(read_text(path, shown), shown), shown)


def _convert(node: yaml.Node, shown: str) -> Node:
    mark = mark_of(node, shown)
    if node.tag.startswith("!"):
        raise ScenarioError(f"the tag {node.tag} means nothing here", mark)
    if isinstance(node, yaml.SequenceNode):
        return Node([_convert(item, shown) for item in node.value], mark)
    if isinstance(node, yaml.ScalarNode):
        return Node(scalar(node), mark)
    fields: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key = _convert(key_node, shown)
        if not isinstance(key.value, str | int) or isinstance(key.value, bool):
            raise ScenarioError(f"a key must be text, not {key.kind}", key.mark)
        if str(key.value) in fields:
            raise ScenarioError(f"the key {str(key.value)!r} stands twice", key.mark)
        fields[str(key.value)] = _convert(value_node, shown)
    return Node(fields, mark)
