"""Spans of time as Go reads them."""

from __future__ import annotations

import pytest

from sixhops.dockerd.goduration import DurationError, parse

_SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("1h30m", 5400 * _SECOND),
        ("-1.5s", -1_500_000_000),
        (".5s", 500_000_000),
        ("1.s", _SECOND),
        ("+3ms", 3_000_000),
        ("2µs", 2000),
    ],
)
def test_parse_gives_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("x", 'time: invalid duration "x"'),
        (".s", 'time: invalid duration ".s"'),
        ("1", 'time: missing unit in duration "1"'),
        ("1x", 'time: unknown unit "x" in duration "1x"'),
        ("1h2", 'time: missing unit in duration "1h2"'),
        ("9999999999h", 'time: invalid duration "9999999999h"'),
    ],
)
def test_parse_refuses_in_go_s_words(text: str, message: str) -> None:
    with pytest.raises(DurationError) as caught:
        parse(text)
    assert str(caught.value) == message
