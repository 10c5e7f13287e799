"""Times of `until`: what dockerd 20.10 (Go 1.19) was seen to take, and to say to what it does not."""

from __future__ import annotations

import pytest

from sixhops.dockerd.gotime import TimeError, parse_moment

SECOND = 10**9
NOW = 1_600_000_000 * SECOND + 5
DAY = 1_577_836_800 * SECOND  # 2020-01-01


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1h", NOW - 5 - 3600 * SECOND),
        ("0", 0),
        ("+5", 5 * SECOND),
        ("5.5", 5 * SECOND + SECOND // 2),
        ("1.12345678901234", SECOND + 123_456_789),
        ("2020-01-01", DAY),
        ("2020-01-01Z", DAY),
        ("2020-01-01-05:00", DAY + 5 * 3600 * SECOND),
        ("2020-01-01T00", DAY),
        ("2020-01-01T1", DAY + 3600 * SECOND),
        ("2020-01-01T00:01", DAY + 60 * SECOND),
        ("2020-01-01T00:00:01,5", DAY + SECOND * 3 // 2),
        ("2020-01-01T00:00:00.5Z", DAY + SECOND // 2),
        ("2020-01-01T00:00:00+01:00", DAY - 3600 * SECOND),
        ("0000-02-29", -62_167_219_200 * SECOND),
    ],
)
def test_a_moment_is_a_span_a_time_or_seconds(text: str, moment: int) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", 'failed to parse value as time or duration: "abc"'),
        ("5.", 'failed to parse value as time or duration: "5."'),
        ("20a0-01-01", 'parsing time "20a0-01-01" as "2006-01-02": cannot parse "-01-01" as "2006"'),
        ("2020-01", 'parsing time "2020-01" as "2006-01-02": cannot parse "" as "-"'),
        ("2020-1-01", 'parsing time "2020-1-01" as "2006-01-02": cannot parse "1-01" as "01"'),
        ("2021-02-29", 'parsing time "2021-02-29": day out of range'),
        ("2020-13-01T00:00:00", 'parsing time "2020-13-01T00:00:00": month out of range'),
        ("2020-01-01Tx", 'parsing time "2020-01-01Tx" as "2006-01-02T15": cannot parse "x" as "15"'),
        (
            "2020-01-01T00:00:00.1234567890",
            'parsing time "2020-01-01T00:00:00.1234567890": extra text: "0"',
        ),
        (
            "2020-01-01T00:00z",
            'parsing time "2020-01-01T00:00z" as "2006-01-02T15:04Z07:00": cannot parse "z" as "Z07:00"',
        ),
        ("1-é", r'parsing time "1-\xc3\xa9" as "2006-01-02": cannot parse "" as "2006"'),
    ],
)
def test_what_is_none_is_told_in_the_words_of_go(text: str, message: str) -> None:
    with pytest.raises(TimeError) as caught:
        parse_moment(text, NOW)

    assert str(caught.value) == message
