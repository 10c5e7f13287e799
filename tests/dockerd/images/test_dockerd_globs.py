from __future__ import annotations

import pytest

from sixhops.dockerd.images.globs import PatternError, matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("busybox", "busybox", True),
        ("busy*", "busybox:latest", True),
        ("*", "team/app", False),
        ("*/*", "team/app", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        (r"\*", "*", True),
        (r"[\]]", "]", True),
        ("a.c", "abc", False),
    ],
)
def test_a_pattern(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-", "[-x]", "a\\"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternError, match="syntax error in pattern"):
        matches(pattern, "a")
