"""YAML text to a tree of nodes with places, and nothing that YAML has beyond plain data and tags.

PyYAML's C parser does the work. Not taken over from YAML 1.1: `yes`/`no`/`on`/`off`, octal, sexagesimal
numbers and dates (these are text here, as in JSON-minded YAML 1.2), merge keys, anchors and aliases, several
documents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from sixhops.harness.errors import Mark, ScenarioError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_DEPTH", "compose", "is_plain", "mark_of", "read_text", "scalar", "text_of"]

MAX_DEPTH: Final = 64
_LARGEST: Final = 4 << 20
# The C parser descends by recursion; a file with more openings than this is measured first, without
# recursion.
_SUSPICIOUS: Final = 3000

_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_ODD_TAG: Final = re.compile(r"![A-Za-z_:]*(?=[}\],])")
# What could be an anchor or alias; text in quotes and blocks as well, so a hit is looked into.
_ANCHOR: Final = re.compile(r"(?:^|[\s\[{,:])[&*][^\s&*]")
# What the parser counts as the end of a line.
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TWO_TAGS: Final = re.compile(r"!([a-z_:]+)[ \t]+!([a-z_:]+)")
_STR: Final = "tag:yaml.org,2002:str"
_DEFAULTS: Final = {
    yaml.ScalarNode: _STR,
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
    yaml.MappingNode: "tag:yaml.org,2002:map",
}

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the base is chosen at run time
    """A loader that leaves plain scalars to `scalar`, which is faster and knows fewer types."""

    def resolve(self, kind: Any, _value: Any, _implicit: Any) -> str:
        """Return the tag of an untagged node."""
        return _DEFAULTS[kind]


def read_text(path: Path, name: str) -> str:
    """Return a file's text. Raises ScenarioError when it can't be read, is not UTF-8, or is larger than 4
    MiB.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"can't be read: {error.strerror}", Mark(name, 1, 1)) from None
    return text_of(data, name)


def text_of(data: bytes, name: str) -> str:
    """Return what a file holds as text. Raises ScenarioError when it is not UTF-8, or larger than 4 MiB."""
    if len(data) > _LARGEST:
        raise ScenarioError(f"is {len(data)} bytes long; the limit is {_LARGEST}", Mark(name, 1, 1))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
        raise ScenarioError(
            f"is not UTF-8: the byte 0x{data[error.start]:02x}", Mark(name, line, column)
        ) from None


def compose(text: str, name: str) -> yaml.Node:
    """Return the root node of `text`; `name` is the file's name in messages. Raises ScenarioError with the
    place.
    """
    try:
        if sum(map(text.count, ("[", "{", "- ", "? ", "-\n"))) > _SUSPICIOUS:
            _measure(text, name)
        if _ANCHOR.search(text):
            _refuse_anchors(text, name)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _explain(error, text, name) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise ScenarioError(
            f"bad YAML: a character that is not allowed (#x{error.character:04x})", Mark(name, line, column)
        ) from None
    if root is None:
        raise ScenarioError("the file is empty", Mark(name, 1, 1))
    node: yaml.Node = root
    return node


def mark_of(node: yaml.Node | yaml.Event, name: str) -> Mark:
    """Return where `node` begins."""
    start = node.start_mark
    assert start is not None
    return Mark(name, start.line + 1, start.column + 1)


def is_plain(node: yaml.ScalarNode) -> bool:
    """Return whether a scalar stands without quotes and is no block text."""
    return not node.style


def scalar(node: yaml.ScalarNode) -> bool | int | float | str | None:
    """Return the value of a scalar node; only scalars without quotes are anything but text."""
    text: str = node.value
    if node.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "-+.0123456789":
        if _INT.fullmatch(text):
            digits = text.lstrip("-+")
            # A leading zero is octal to some and text to nobody's surprise; a very long number is an id.
            return text if (len(digits) > 1 and digits[0] == "0") or len(digits) > 4000 else int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def _measure(text: str, name: str) -> None:
    try:
        _measure_with(_Base, text, name)
    except yaml.MarkedYAMLError:
        # Newer libyaml has a limit of its own, and its scanner, which runs ahead, meets that before we see an event.
        _measure_with(yaml.SafeLoader, text, name)


def _measure_with(loader: Any, text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ScenarioError(f"values are nested more than {MAX_DEPTH} deep", mark_of(event, name))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_anchors(text: str, name: str) -> None:
    # Checked on events and not on nodes: an alias to what is around it would make the tree endless.
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            raise ScenarioError(
                f"YAML aliases (*{event.anchor}) are not part of the language; use `vars`",
                mark_of(event, name),
            )
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            raise ScenarioError(
                f"YAML anchors (&{event.anchor}) are not part of the language; use `vars`",
                mark_of(event, name),
            )


def _explain(error: yaml.MarkedYAMLError, text: str, name: str) -> ScenarioError:
    place = error.problem_mark or error.context_mark
    if "end of stream" in str(error.problem) and error.context_mark:
        # Where an open quote begins says more than where the file ends.
        place = error.context_mark
    mark = Mark(name, place.line + 1, place.column + 1) if place else Mark(name, 1, 1)
    problem = str(error.problem or error.context)
    lines = _BREAK.split(text)
    line = lines[place.line] if place and place.line < len(lines) else ""
    if "single document" in str(error.context) or ("document" in problem and "another" in problem):
        return ScenarioError("there is more than one document in the file", mark)
    if place and "tag" in f"{error.context} {problem}":
        for odd in _ODD_TAG.finditer(line):
            if odd.end() <= place.column + 1:
                tag, near = odd[0], line[odd.end()]
                hint = f"bad YAML: put a space between {tag} and {near} (YAML reads {tag}{near} as one tag)"
                found = ScenarioError(hint, Mark(name, place.line + 1, odd.start() + 1))
                if odd.end() >= place.column - 1:
                    return found
    for two in _TWO_TAGS.finditer(line):
        if place and two.start() <= place.column <= two.end():
            hint = f"bad YAML: a value has one tag; write !{two[1]}:{two[2]} for a matcher in a matcher"
            return ScenarioError(hint, Mark(name, place.line + 1, two.start() + 1))
    if place and place.column < len(line) and line[place.column : place.column + 1] == "\t":
        return ScenarioError("bad YAML: a tab can't indent; use spaces", mark)
    if place and "$" in line and "flow" in str(error.context):
        hint = 'inside {...} and [...], what has brackets stands in quotes, such as "${name}"'
        return ScenarioError(f"bad YAML: {problem}; {hint}", mark)
    return ScenarioError(f"bad YAML: {problem}{f', {error.context}' if error.context else ''}", mark)
