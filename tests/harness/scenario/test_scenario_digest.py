"""The digest of what a scenario does: what counts, and what does not."""

from __future__ import annotations

import pytest

from sixhops.harness.scenario.digest import digest_of, digests
from sixhops.harness.scenario.load import load_text

ONE = """\
title: create
images: [busybox]
vars: {name: x, unused: y}
steps:
  - name: create
    request: POST /containers/create?name=${name}
    json: {Image: busybox}
    expect: {status: 201}
"""
ROWS = """\
title: rows
vars: {deep: "${row.deep}"}
for:
  - {id: one, body: a, deep: 1, status: 200}
  - {id: two, body: b, deep: 1, status: 200}
steps:
  - request: POST /build?x=${deep}
    body: ${row.body}
    expect: {status: "${row.status}"}
"""


def digest(text: str) -> str:
    return digest_of(load_text(text)[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: create", "# words\ntitle: other\ndescription: more\ntags: [slow]"),
        ("{Image: busybox}", '\n      Image: "busybox"'),
        ("expect: {status: 201}", "expect: {status: 200}\n    timeout: 5s"),
        ("unused: y", "unused: z"),
        ("vars: {name: x, unused: y}\n", "requires: {root: true}\nvars: {name: x}\n"),
    ],
)
def test_how_it_is_written_and_judged_does_not_count(old: str, new: str) -> None:
    assert old in ONE
    assert digest(ONE.replace(old, new)) == digest(ONE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("POST", "PUT"),
        ("Image: busybox", "Image: other"),
        ("name: x", "name: y"),
        ("images: [busybox]", "images: [{busybox: present}]"),
        ("name: create\n", "name: make\n"),
        ("expect: {status: 201}", "save: {id: $.Id}"),
        ("steps:", "registry_faults: [{match: GET /v2/, status: 500}]\nsteps:"),
        ("    expect: {status: 201}\n", "  - request: GET /_ping\n"),
    ],
)
def test_what_it_does_counts(old: str, new: str) -> None:
    assert old in ONE
    assert digest(ONE.replace(old, new)) != digest(ONE)


@pytest.mark.parametrize("bound", ["20s", "{timeout: 5s}", "{timeout: 20s, fail_if: {status: 500}}"])
def test_for_how_long_a_step_is_repeated_does_not_count_but_that_it_is_does(bound: str) -> None:
    repeated = ONE + "    eventually: 5s\n"

    assert (
        digest(ONE + f"    eventually: {bound}\n") == digest(repeated) == "6b74333c284dd038"
    )  # in recorded runs
    assert digest(repeated) != digest(ONE)


def test_a_row_has_its_own_digest_of_what_is_sent_of_it() -> None:
    one, two = digests(load_text(ROWS)).values()

    assert one != two
    assert one == digest(
        ROWS.replace("{id: one, body: a, deep: 1, status: 200}", "{body: a, deep: 1, status: 404}")
    )
    assert one != digest(ROWS.replace("body: a, deep: 1", "body: a, deep: 2"))
    assert digests(load_text(ROWS + "cleanup:\n  - request: GET /_ping\n")).values() != {one, two}
