"""YAML that is no scenario (image recipes, requirements, engine profiles, counts), read so that every value
knows its place.

A document is a tree of `Node`s, each with its `Mark`; what the keys mean is the caller's business. Readers
take values out of nodes and never out of YAML, so the same readers serve a recipe file and the `tar:` body of
a scenario step, whose values are already plain data (`Node.of_data`). Messages name a value by its place in
the document, or by `what` where the caller has a word for it.
"""

from __future__ import annotations

import difflib
import functools
import re
from bisect import bisect_left
from dataclasses import dataclass
from fnmatch import translate
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import yaml

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario.nodes import MAX_DEPTH, compose, mark_of, read_text, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

__all__ = ["Node", "concerns", "finder", "nearest", "read_document", "shown_path"]

T = TypeVar("T")
_WILD: Final = re.compile(r"[*?[]")
_KINDS: Final = {
    dict: "a mapping",
    list: "a list",
    str: "a string",
    int: "a whole number",
    bool: "true or false",
}


def concerns(pattern: str, text: str) -> bool:
    """Say whether a pattern means a text: a glob, or the text itself, also with a row's brackets."""
    return pattern == text or _glob(pattern)(text) is not None


@functools.cache
def _glob(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(translate(pattern) if _WILD.search(pattern) else r"(?!)").match


def finder(items: Iterable[T], name_of: Callable[[T], str]) -> Callable[[str], tuple[T, ...]]:
    """Return the function from a pattern to those of the items, in their order, whose names it `concerns`.

    Every pattern of profiles and accepted differences is held against all scenarios whenever the suite is read; so names are
    sorted once, and only those are looked at that begin as the pattern does before its first wildcard.
    """
    known = [(name_of(item), at, item) for at, item in enumerate(items)]
    known.sort(key=itemgetter(0, 1))
    names = [name for name, _, _ in known]

    @functools.cache
    def find(pattern: str) -> tuple[T, ...]:
        wild = _WILD.search(pattern)
        beginning = pattern[: wild.start()] if wild else pattern
        found = []
        for name, at, item in known[bisect_left(names, beginning) :]:
            if not name.startswith(beginning):
                break
            if concerns(pattern, name):
                found.append((at, item))
        return tuple(item for _, item in sorted(found, key=itemgetter(0)))

    return find


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document, and where it stands: a scalar, a list of nodes, or a dictionary of nodes.

    `where` is what it is called in its parent; `key_marks` has the places of a mapping's keys, as far as known.
    """

    value: Any
    mark: Mark
    where: str = ""
    key_marks: Mapping[str, Mark] | None = None

    @classmethod
    def of_data(cls, value: object, mark: Mark, where: str = "") -> Node:
        """Wrap plain data, all of which was written at `mark`."""
        if isinstance(value, dict):
            members = {str(key): cls.of_data(item, mark, str(key)) for key, item in value.items()}
            return cls(members, mark, where, {})
        if isinstance(value, list):
            items = [cls.of_data(item, mark, f"{where}[{at}]") for at, item in enumerate(value)]
            return cls(items, mark, where)
        return cls(value, mark, where)

    def fail(self, message: str) -> NoReturn:
        """Raise ScenarioError at this place."""
        raise ScenarioError(f"{self.where}: {message}" if self.where else message, self.mark)

    def mapping(self, known: Collection[str] | None = None, *, what: str = "") -> dict[str, Node]:
        """Return the members of a mapping; with `known` given, any other key is a ScenarioError."""
        members: dict[str, Node] = self._typed(dict, what)
        for key, node in members.items():
            if known is None or key in known:
                continue
            hint = nearest(key, known)
            if what:
                raise ScenarioError(f"unknown key {key!r} in {what}{hint}", node.mark)
            place = (self.key_marks or {}).get(key, self.mark)
            raise ScenarioError(f"unknown key {key!r}{hint or f'; known are {_listed(known)}'}", place)
        return dict(members)

    def items(self, *, what: str = "") -> list[Node]:
        """Return the elements of a list."""
        return list(self._typed(list, what))

    def text(self) -> str:
        """Return a string, which may be empty."""
        return str(self._typed(str))

    def filled_text(self, what: str) -> str:
        """Return the text that `what` must be: not empty, and not a number that YAML has made of it."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise ScenarioError(f"{what} must be a text that is not empty, not {self._shown}", self.mark)
        return self.value

    def flag(self) -> bool:
        """Return true or false."""
        return bool(self._typed(bool))

    def number(self, low: int = 0, high: int = 2**63 - 1, *, what: str = "") -> int:
        """Return a whole number within bounds, both included."""
        found = int(self._typed(int, what))
        if not low <= found <= high:
            if what:
                raise ScenarioError(f"{what} must be a whole number, not {self._shown}", self.mark)
            self.fail(f"{found} is not between {low} and {high}")
        return found

    def choice(self, allowed: Collection[str]) -> str:
        """Return a string that is one of `allowed`."""
        found = self.text()
        if found not in allowed:
            self.fail(f"{found!r} is none of {_listed(allowed)}{nearest(found, allowed)}")
        return found

    def texts(self) -> list[str]:
        """Return a list of strings."""
        return [item.text() for item in self.items()]

    def text_map(self) -> dict[str, str]:
        """Return a mapping of strings to strings."""
        return {key: item.text() for key, item in self.mapping().items()}

    def is_a(self, kind: type) -> bool:
        """Tell the kind of value; true is no number."""
        return isinstance(self.value, kind) and not (kind is int and isinstance(self.value, bool))

    @property
    def _shown(self) -> str:
        if isinstance(self.value, dict | list):
            return _KINDS[type(self.value)]
        return "nothing" if self.value is None else repr(self.value)

    def _typed(self, kind: type, what: str = "") -> Any:
        if not self.is_a(kind):
            if what:
                raise ScenarioError(f"{what} must be {_KINDS[kind]}, not {self._shown}", self.mark)
            name = type(self.value)
            seen = "nothing" if self.value is None else _KINDS.get(name, name.__name__)
            self.fail(f"expected {_KINDS[kind]}, found {seen}")
        return self.value


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


def read_document(path: Path, name: str | None = None) -> Node:
    """Return the one YAML document in the file at `path`, read by the rules of scenario files
    (`scenario.nodes`); `name` is what messages call the file (default: `shown_path`).

    Raises ScenarioError with file, line and column for bad YAML, an empty file, anchors, tags, repeated keys,
    too deep nesting, and keys that are neither text nor number (numbers become text: a status code may stand
    as a key without quotes).
    """
    shown = name or shown_path(path)
    return _convert(compose(read_text(path, shown), shown), shown, "", 0)


def _convert(node: yaml.Node, shown: str, where: str, depth: int) -> Node:
    mark = mark_of(node, shown)
    if node.tag.startswith("!"):
        raise ScenarioError(f"the tag {node.tag} means nothing here; tags belong to expectations", mark)
    if depth > MAX_DEPTH:
        raise ScenarioError(f"values are nested more than {MAX_DEPTH} deep", mark)
    if isinstance(node, yaml.SequenceNode):
        items = [_convert(item, shown, f"{where}[{at}]", depth + 1) for at, item in enumerate(node.value)]
        return Node(items, mark, where)
    if isinstance(node, yaml.ScalarNode):
        return Node(scalar(node), mark, where)
    members: dict[str, Node] = {}
    marks: dict[str, Mark] = {}
    for key_node, value_node in node.value:
        at = mark_of(key_node, shown)
        plain = scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(plain, str | int) or isinstance(plain, bool):
            shown_key = repr(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a collection"
            raise ScenarioError(f"a key must be text, not {shown_key}", at)
        key = str(plain)
        if key in members:
            raise ScenarioError(f"the key {key!r} stands twice", at)
        marks[key] = at
        members[key] = _convert(value_node, shown, key, depth + 1)
    return Node(members, mark, where, marks)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
