"""Differences by what they are about: which count as one, in which order, and how they are shown."""

from __future__ import annotations

from typing import Any

from sixhops.harness.diff.grouped import group, group_data, group_lines
from sixhops.harness.diff.model import Difference


def one(
    scenario: str,
    path: str = "",
    kind: str = "changed",
    a: Any = None,
    b: Any = None,
    message: str = "GET /v1.40/x -> 200",
) -> Difference:
    return Difference(scenario, 1, "look", "engine", message, path, kind, a, b)


def test_one_change_of_an_engine_is_one_group() -> None:
    groups = group(
        [
            one("engine/a", "json.Mounts.0.Mode", a="z", b="Z"),
            one("engine/b", "json.Mounts.12.Mode", a="ro", b="RO"),
            one("engine/b", "json.Mounts.13.Mode", a="ro", b="RO"),
            one("engine/a", "json.Mounts.0.Mode", a="z", b="other"),
            one("engine/a", "status", a=500, b=400),
            one("engine/c", "status", a=500, b=400),
            one("engine/d", "status", a=500, b=400),
            one("engine/d", "status", a=500, b=404),
            one("engine/d", "json.Only", kind="missing", a=1),
        ]
    )

    assert [(one.place, one.what, one.count, len(one.scenarios)) for one in groups] == [
        ("engine hop, status", "500 becomes 400", 3, 3),
        ("engine hop, json.Mounts.*.Mode", "differs in upper and lower case", 3, 2),
        ("engine hop, json.Mounts.*.Mode", "differs", 1, 1),
        ("engine hop, json.Only", "only in A", 1, 1),
        ("engine hop, status", "500 becomes 404", 1, 1),
    ]
    assert groups[0].first.scenario == "engine/a"


def test_messages_that_one_side_has_count_by_their_line() -> None:
    groups = group(
        [
            one("engine/a", kind="added", b={}, message="GET /v2/⟨unique⟩/tags/list?n=1 -> 200"),
            one("engine/b", kind="added", b={}, message="GET /v2/x-⟨unique⟩/tags/list?n=2 -> 200"),
            one("engine/b", kind="added", b={}, message="GET /v2/ -> 200"),
        ]
    )

    assert [(one.place, one.what) for one in groups] == [
        ("engine hop, GET /v2/*/tags/list -> 200", "only in B"),
        ("engine hop, GET /v2/ -> 200", "only in B"),
    ]


def test_a_group_is_shown_with_its_first_example() -> None:
    groups = group(
        [
            one("engine/a", "status", a=500, b=400),
            one("engine/b", "json.X", kind="added", b="y" * 200),
            Difference("engine/b", -1, "", "", "", "verdict", "changed", "passed", "known"),
        ]
    )

    lines = list(group_lines(groups, 1))

    assert [" ".join(line.split()) for line in lines] == [
        "scenarios differences what differs, and the first of them",
        "scenario: 1 changes",
        "1 1 verdict: differs",
        'engine/b: A "passed", B "known"',
        "engine hop: 2 changes",
        "1 1 json.X: only in B",
        f'engine/b step 2: B "{"y" * 79}...',
        "and 1 more, of which none is in more than 1 scenarios (-v shows them)",
    ]
    assert "engine/a step 2: A 500, B 400" in list(group_lines(groups))[-1]
    assert group_data(groups)[1]["first"]["b"] == 400
