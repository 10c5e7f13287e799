"""One reader for all YAML that is no scenario; the files' own tests have the rest of the messages."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.documents import Node, concerns, finder, read_document
from sixhops.harness.errors import Mark, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AT = Mark("a.yaml", 3, 4)


@pytest.mark.parametrize(
    ("value", "read", "message"),
    [
        ([], lambda node: node.mapping(), "expected a mapping, found a list"),
        ([], lambda node: node.mapping(what="stack"), "stack must be a mapping, not a list"),
        ({"dockre": 1}, lambda node: node.mapping({"docker"}), "unknown key 'dockre'; did you mean 'docker'?"),
        ({"x": 1}, lambda node: node.mapping({"b", "a"}), "unknown key 'x'; known are a, b"),
        ({"x": 1}, lambda node: node.mapping({"b"}, what="a row"), "unknown key 'x' in a row"),
        (None, lambda node: node.items(), "expected a list, found nothing"),
        (True, lambda node: node.number(), "expected a whole number, found true or false"),
        (9, lambda node: node.number(0, 8), "9 is not between 0 and 8"),
        (-1, lambda node: node.number(what="step"), "step must be a whole number, not -1"),
        (" ", lambda node: node.filled_text("reason"), "reason must be a text that is not empty, not ' '"),
        (1, lambda node: node.text(), "expected a string, found a whole number"),
        ("gzp", lambda node: node.choice(("gzip", "none")), "'gzp' is none of gzip, none; did you mean 'gzip'?"),
        ("x", lambda node: node.flag(), "expected true or false, found a string"),
    ],
)  # fmt: skip
def test_message_of_a_wrong_value(value: object, read: Callable[[Node], object], message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(Node.of_data(value, AT))

    assert str(caught.value) == f"a.yaml:3:4: {message}"


def test_a_value_is_called_by_its_place() -> None:
    node = Node.of_data({"layers": [[1]]}, AT)

    with pytest.raises(ScenarioError, match=r"layers\[0\]\[0\]: expected a string"):
        node.mapping()["layers"].items()[0].texts()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "2:1: the key 'a' stands twice"),
        ("200: x\n'200': y", "2:1: the key '200' stands twice"),
        ("[a]: x", "1:1: a key must be text, not a collection"),
        ("1.5: x", "1:1: a key must be text, not '1.5'"),
        ("true: x", "1:1: a key must be text, not 'true'"),
        ("a: !re x", "1:4: the tag !re means nothing here; tags belong to expectations"),
        ("a: " + "[" * 70 + "]" * 70, "values are nested more than 64 deep"),
    ],
)
def test_malformed_document(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)

    with pytest.raises(ScenarioError) as caught:
        read_document(file, "x.yaml")

    assert str(caught.value).startswith("x.yaml:")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    ("pattern", "text", "meant"),
    [
        ("engine/a", "engine/a", True),
        ("engine/a", "engine/ab", False),
        ("engine/*", "engine/deep/a", True),
        ("engine/?", "engine/ab", False),
        ("engine/a[row]", "engine/a[row]", True),
        ("engine/a[row]", "engine/ar", True),
        ("engine/a.b", "engine/axb", False),
        ("", "", True),
    ],
)
def test_a_pattern_is_a_glob_or_the_text_itself(pattern: str, text: str, meant: bool) -> None:
    assert concerns(pattern, text) is meant


@pytest.mark.parametrize(
    "pattern",
    ["*", "a/*", "a/b", "a/b[c]", "a/[bx]", "a/b?", "?/b", "a/b[c]*", "", "z", "a/b[", "[a]/b", "a*[[]c]"],
)
def test_a_finder_finds_what_the_pattern_concerns_in_the_given_order(pattern: str) -> None:
    names = ["b/a", "a/b[c]", "a/b", "a/bc", "a/x", "a/b[c]/d", "a/b", "z"]
    items = list(enumerate(names))

    found = finder(items, itemgetter(1))(pattern)

    assert list(found) == [item for item in items if concerns(pattern, item[1])]
