"""Metrics as text: numbers as Go writes them (observed on dockerd 20.10), and a histogram's lines."""

from __future__ import annotations

import pytest

from sixhops.dockerd.metrics import Histogram, Sample, labels, process_samples, text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1, "1"),
        (20000, "20000"),
        (25276514304, "2.5276514304e+10"),
        (1795688218.96, "1.79568821896e+09"),
        (3.4851e-05, "3.4851e-05"),
        (0.0001, "0.0001"),
        (0.049044927, "0.049044927"),
        (2**64, "1.8446744073709552e+19"),
    ],
)
def test_numbers_have_the_shortest_digits(value: float, shown: str) -> None:
    assert f"\nx {shown}\n" in text([Sample("x", "gauge", "help", [("", value)])])


def test_a_histogram_counts_what_lasted_no_longer_than_each_bound() -> None:
    histogram = Histogram("h", "help", "action")
    histogram.observe("start", 0.01)
    histogram.observe("start", 20)

    values = dict(histogram.sample().values)

    assert values['_bucket{action="start",le="0.005"}'] == 0
    assert values['_bucket{action="start",le="0.01"}'] == 1
    assert values['_bucket{action="start",le="10"}'] == 1
    assert values['_bucket{action="start",le="+Inf"}'] == 2
    assert values['_sum{action="start"}'] == 20.01


def test_what_fails_is_not_among_what_was_timed() -> None:
    histogram = Histogram("h", "help", "action")

    with pytest.raises(KeyError), histogram.timed("start"):
        raise KeyError

    assert histogram.sample().values == []


def test_labels_are_quoted() -> None:
    assert labels({"a": 'x"y\\z'}) == r'{a="x\"y\\z"}'


def test_the_process_is_this_one() -> None:
    found = {sample.name: sample.values[0][1] for sample in process_samples()}

    assert found["process_open_fds"] >= 3
    assert found["process_resident_memory_bytes"] > 1 << 20
