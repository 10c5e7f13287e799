# ruff: noqa: E501 - a table of texts reads best with one row a line
"""Whatever is cut out of or put into a scenario file, the loader gives scenarios or ScenarioErrors, never anything else."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from sixhops.harness.errors import ScenarioErrors
from sixhops.harness.scenario.load import load_text

TEXT = """\
title: everything at once
refs: [a/b]
api: "1.41"
images: [one, {two: present}, {three: {present: true, served: false}}]
requires: {api: ">=1.40", hop: [registry], cgroup: 2}
vars: {name: "c-${scenario.unique}", list: [1, {a: null}]}
for: [{id: x, code: 200}, {id: y, code: 404}]
registry_faults: [{match: "GET /v2/*", times: 1, status: "${row.code}", body: {hex: 00 ff}}]
steps:
  - request: POST /containers/create?name=${name}
    json: {Image: "${images.one.ref}"}
    expect: {status: "${row.code}", json: !exact {Id: !id , W: !one_of [!any , !not:re "x"]}, stream: [!some , 1]}
    save: {id: $.Id, n: {from: $stdout, re: "a(b)"}}
  - request: POST /containers/${id}/attach
    background: b
    upgrade: tcp
  - send: {to: b, text: "x\\n"}
  - await: b
    expect: {stdout: !contains x }
  - join: b
  - docker: ["ps", "-a"]
    eventually: {timeout: 2s, fail_if: {exit: 1}}
cleanup:
  - request: DELETE /containers/${id}
"""
PIECES = ["{", "}", "[", "]", "!", "!re ", "!some", "&a ", "*a", "${", "}", ":", ": ", "- ", "\n", "\t", '"', "'", "|", ">", "?", "#",
          "%", "---\n", "null", "1e9", "\x00", "\u2028", "é", "<<: ", "  "]  # fmt: skip


def test_the_text_itself_is_good() -> None:
    assert [scenario.id for scenario in load_text(TEXT)] == ["scenario[x]", "scenario[y]"]


@pytest.mark.parametrize("seed", range(12))
def test_damaged_scenarios_are_errors_of_the_scenario(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        text = TEXT
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(text))
            text = (
                text[:start] + chance.choice([*PIECES, ""]) + text[start + chance.choice([0, 0, 1, 5, 40]) :]
            )
        with suppress(ScenarioErrors):
            assert load_text(text)


@pytest.mark.parametrize("cut", range(0, len(TEXT), 29))
def test_a_file_that_was_cut_off_is_no_crash(cut: int) -> None:
    with suppress(ScenarioErrors):
        assert load_text(TEXT[:cut])
