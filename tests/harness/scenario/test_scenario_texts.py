# ruff: noqa: E501 - a table of texts reads best with one row a line
"""The schema and the reference are up to date and agree with the loader; `explain` leaves nothing out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sixhops.harness.errors import ScenarioErrors
from sixhops.harness.match.matchers import MATCHERS
from sixhops.harness.scenario.explain import explain, language_reference
from sixhops.harness.scenario.grammar import ACTIONS, SCENARIO
from sixhops.harness.scenario.load import OTHER_FOLDERS, load_text
from sixhops.harness.scenario.nodes import compose, scalar
from sixhops.harness.scenario.schema import json_schema, schema_text

REPOSITORY = Path(__file__).parents[3]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def plain(node: Any) -> Any:
    """Return a node as an editor's schema checker sees it: tags dropped, scalars typed."""
    if isinstance(node, yaml.ScalarNode):
        return scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    return {key.value: plain(item) for key, item in node.value}


def schema_accepts(text: str) -> bool:
    return bool(VALIDATOR.is_valid(plain(compose(text, "x.yaml"))))


def loader_accepts(text: str) -> bool:
    try:
        return bool(load_text(text))
    except ScenarioErrors:
        return False


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_checked_in_schema_is_up_to_date() -> None:
    checked_in = (REPOSITORY / "scenarios" / "schema.json").read_text()

    assert checked_in == schema_text(), "run: python -m sixhops.harness.scenario.schema scenarios/schema.json"
    assert json.loads(checked_in)["$defs"].keys() >= {"step", "request-step"}


def test_the_checked_in_reference_is_up_to_date() -> None:
    checked_in = (REPOSITORY / "docs" / "scenario-language.md").read_text()

    assert checked_in == language_reference(), (
        "run: python -m sixhops.harness.scenario.reference docs/scenario-language.md"
    )


def test_the_reference_names_every_key_action_and_matcher() -> None:
    reference = language_reference()

    for name in (*SCENARIO.keys, *ACTIONS, *(f"!{name}" for name in MATCHERS)):
        assert f"| `{name}`" in reference


VALID = [
    "title: t\nsteps: [{request: GET /x}]\n",
    'title: t\napi: "1.25"\nimages: [a, {b: present}, {c: {served: false}}]\nsteps: [{docker: ps}]\n',
    "title: t\nrequires: {hop: shim, cgroup: 1}\nsteps: [{registry: GET /v2/, expect: {status: 200, json: {a: !any }}}]\n",
    "title: t\nfor: [{id: a, l: GET /, s: 500}]\nregistry_faults: [{match: '* /', status: '${row.s}'}]\nsteps: [{request: '${row.l}'}]\n",
    "title: t\nsteps: [{request: POST /x, body: {hex: 00 FF, repeat: 2}, eventually: {timeout: 5s, fail_if: {status: 500}}}]\n",
    "title: t\nsteps: [{request: GET /, background: b}, {send: {to: b, text: x}}, {close_stdin: b}, {join: b, save: {a: $stdout}}]\n",
    "title: t\nsteps: [{processes: all}, {processes: {comm: !re x }}, {file: /x, expect: {mode: 420}, save: {a: {from: $text, re: b}}}]\n",
    "title: t\nsteps: [{docker: [run, -it], tty: {rows: 1, columns: 2}, env: {A: b}, timeout: 250ms}]\ncleanup: [{docker: ps}]\n",
    "title: t\nsteps: [{grpc: Tasks/Get, json: {container_id: x}, namespace: null, deadline: 1s, expect: {status: OK, response: {}}}]\n",
    "title: t\nsteps: [{grpc: Content/Write, messages: [{data: x}], background: w, half_close: false}, {close_stdin: w}, {join: w}]\n",
    "title: t\nvars: {m: {}}\nsteps: [{grpc: Tasks/Get, json: '${m}'}, {grpc: /a.B/C, body: {hex: ff}}]\n",
    "title: t\nsteps: [{ttrpc: State, shim: x, json: {id: x}}, {ttrpc: a.B/C, address: '@x', body: x}]\n",
    "title: t\nsteps: [{bundle: b, image: x, config: {a: 1}, files: [{dir: /x}]}, {bundle: c, raw: x}, {file: '${b}/config.json'}]\n",
    "title: t\nsteps: [{runc: list, fds: [x, output, {hex: ff}], cwd: /x, env: {A: null}}, {runc: [a], console: c}, {disconnect: c}]\n",
]
INVALID = [
    "- a\n",
    "title: t\n",
    "steps: [{request: GET /}]\n",
    "title: 5\nsteps: [{request: GET /}]\n",
    "title: t\nsteps: []\n",
    "title: t\nnosuch: 1\nsteps: [{request: GET /}]\n",
    "title: t\napi: 1.40\nsteps: [{request: GET /}]\n",
    "title: t\nimages: [A/b]\nsteps: [{request: GET /}]\n",
    "title: t\nimages: [{a: present, b: present}]\nsteps: [{request: GET /}]\n",
    "title: t\nrequires: {hop: nosuch}\nsteps: [{request: GET /}]\n",
    "title: t\nregistry_faults: [{match: GET /}]\nsteps: [{request: GET /}]\n",
    "title: t\nregistry_faults: [{match: GET /, cut: 1, length: 1}]\nsteps: [{request: GET /}]\n",
    "title: t\nsteps: [{name: x}]\n",
    "title: t\nsteps: [{sleep: 1s}]\n",
    "title: t\nsteps: [{request: GET /, docker: ps}]\n",
    "title: t\nsteps: [{request: /x}]\n",
    "title: t\nsteps: [{request: GET /, env: {a: b}}]\n",
    "title: t\nsteps: [{request: GET /, timeout: 5}]\n",
    "title: t\nsteps: [{request: GET /, json: 1, body: x}]\n",
    "title: t\nsteps: [{request: GET /, body: {repeat: 2}}]\n",
    "title: t\nsteps: [{request: GET /, upgrade: udp}]\n",
    "title: t\nsteps: [{request: GET /, expect: {staus: 200}}]\n",
    "title: t\nsteps: [{request: GET /, save: {id: Id}}]\n",
    "title: t\nsteps: [{request: GET /, save: {1d: $.Id}}]\n",
    "title: t\nsteps: [{request: GET /, background: b}, {await: b}, {join: b}]\n",
    "title: t\nsteps: [{docker: ps, tty: {rows: 0, columns: 5}}]\n",
    "title: t\nsteps: [{docker: ps, tty: true}]\n",
    "title: t\nsteps: [{docker: []}]\n",
    "title: t\nvars: {a-: 1, '?': 2}\nsteps: [{request: GET /}]\n",
    "title: t\nfor: [a]\nsteps: [{request: GET /}]\n",
    "title: t\nsteps: [{grpc: Get}]\n",
    "title: t\nsteps: [{grpc: Tasks/Get, json: {}, body: x}]\n",
    "title: t\nsteps: [{grpc: Tasks/Get, namespace: 5}]\n",
    "title: t\nsteps: [{ttrpc: State}]\n",
    "title: t\nsteps: [{ttrpc: State, shim: x, address: y}]\n",
    "title: t\nsteps: [{bundle: 1b}]\n",
    "title: t\nsteps: [{bundle: b, config: x}]\n",
    "title: t\nsteps: [{bundle: b, config: {}, raw: x}]\n",
    "title: t\nsteps: [{runc: list, cwd: x}]\n",
    "title: t\nsteps: [{runc: list, fds: [5]}]\n",
]


@pytest.mark.parametrize("text", VALID)
def test_schema_and_loader_accept(text: str) -> None:
    assert loader_accepts(text)
    assert schema_accepts(text)


@pytest.mark.parametrize("text", INVALID)
def test_schema_and_loader_refuse(text: str) -> None:
    assert not loader_accepts(text)
    assert not schema_accepts(text)


def test_the_schema_accepts_the_project_s_own_scenarios() -> None:
    root = REPOSITORY / "scenarios"
    for path in root.rglob("*.yaml"):
        if path.relative_to(root).parts[0] not in OTHER_FOLDERS:
            found = [
                error.message for error in VALIDATOR.iter_errors(plain(compose(path.read_text(), str(path))))
            ]
            assert found == [], str(path)


def test_explain_tells_all_of_a_scenario() -> None:
    text = """\
title: what it is about
description: and why
refs: [some/ref]
images: [one, {two: present}, {three: absent}]
requires: {api: ">=1.40", root: true, cgroup: 2, hop: registry, program: docker}
vars: {name: value}
registry_faults: [{match: "* /v2/*", times: 2, cut: 10}]
steps:
  - name: first
    request: POST /x?a=${name}
    query: {q: 1}
    headers: {X-Y: z}
    json: {a: 1}
    expect: {status: 201, registry: !none }
    save: {id: $.Id}
  - request: POST /y
    background: back
    upgrade: tcp
    stdin: "in"
    half_close: false
  - send: {to: back, text: more}
  - await: back
    expect: {stdout: !contains more }
  - close_stdin: back
  - join: back
  - docker: ps -a
    tty: {rows: 24, columns: 80}
    env: {A: b}
    eventually: {timeout: 5s, fail_if: {exit: 2}}
  - processes: {comm: runc}
  - file: /etc/x
  - bundle: b
    image: busybox
    config: {a: 1}
    files: [{dir: /d}]
  - runc: create --bundle ${b} c
    console: term
    stdin: typed
    cwd: /somewhere
    fds: [content, output]
  - disconnect: term
  - grpc: Tasks/Get
    namespace: null
    deadline: 2s
    json: {container_id: c}
  - ttrpc: State
    shim: c
    metadata: {k: v}
cleanup:
  - registry: DELETE /v2/z
"""
    told = explain(load_text(text)[0])

    for part in (
        "what it is about",
        "and why",
        "API 1.40 or later",
        "runs as root",
        "cgroups version 2",
        "the image one is not on the engine, but in the registry",
        "the image three is nowhere",
        'name is "value"',
        "every request /v2/* is cut off after 10 bytes of the body, 2 times",
        "1. first: POST /x?a=${name} (API 1.40)",
        "the query parameter q=1",
        "the header X-Y: z",
        "the JSON {a: 1}",
        "expect status: 201",
        "expect on the registry hop: !none",
        "save $.Id as id",
        "in the background as back",
        'the input "in", left open',
        'write "more" to back',
        "a terminal of 24 rows and 80 columns",
        "A=b in the environment",
        "for at most 5 s",
        "given up when exit: 2",
        "look at the processes with comm",
        "look at the file /etc/x",
        "Afterwards, whatever happened",
        "make the bundle b of the image busybox",
        "this over the default configuration: {a: 1}",
        'in its rootfs {dir: "/d"}',
        "runc create --bundle ${b} c",
        "a console socket, whose terminal is kept as term",
        'the input "typed"',
        "the working directory /somewhere",
        '"content" on descriptor 3',
        "descriptor 4 to write to",
        "containerd.services.tasks.v1.Tasks/Get, straight to containerd",
        'the request {container_id: "c"}',
        "no namespace",
        "a deadline of 2 s",
        "Task/State, straight to the shim of c",
        "the metadata k: v",
        "15. DELETE /v2/z, straight to the registry",
        "Covers some/ref",
    ):
        assert part in told
