"""Text in Go's quotes."""

from __future__ import annotations

import pytest

from sixhops.dockerd.goquote import quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ('a"\\', '"a\\"\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\0\x7f", '"\\x00\\x7f"'),
        ("é<&>", '"é<&>"'),
        ("\x85\u2028\u00a0", '"\\u0085\\u2028\\u00a0"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quote_escapes_as_go_does(text: str, quoted: str) -> None:
    assert quote(text) == quoted
