"""Malformed steps on the inner hops: an error with the exact line and column, and what to do about it."""

from __future__ import annotations

import pytest

from sixhops.harness.errors import ScenarioErrors
from sixhops.harness.scenario.load import load_text

HEAD = "title: t\nsteps:\n"

# name: (text, line, column, part of the message)
MALFORMED: dict[str, tuple[str, int, int, str]] = {
    "unknown method": (
        HEAD + "  - grpc: Tasks/Gett\n",
        3,
        5,
        "containerd has no method Tasks/Gett; did you mean Tasks/Get",
    ),
    "unknown service": (
        HEAD + "  - grpc: Task/Get\n",
        3,
        5,
        "containerd has no method Task/Get; did you mean Tasks/Get",
    ),
    "unknown ttrpc method": (
        HEAD + "  - ttrpc: Get\n    shim: x\n",
        3,
        5,
        "the Task service has no method Get",
    ),
    "unknown ttrpc service": (
        HEAD + "  - ttrpc: containerd.task.v2.Tas/State\n    shim: x\n",
        3,
        5,
        "did you mean containerd.task.v2.Task/State",
    ),
    "no method at all": (
        HEAD + "  - grpc: Tasks\n",
        3,
        11,
        'grpc must be a method such as Tasks/Get, not "Tasks"',
    ),
    "unknown field": (
        HEAD + "  - grpc: Tasks/Get\n    json: {container: x}\n",
        4,
        12,
        "GetRequest has no field container; did you mean container_id?",
    ),
    "unknown field deep inside": (
        HEAD + "  - grpc: Tasks/Create\n    json:\n      rootfs:\n        - kind: bind\n",
        6,
        11,
        "Mount has no field kind",
    ),
    "wrong type of a field": (
        HEAD + "  - grpc: Tasks/Kill\n    json: {signal: KILL}\n",
        4,
        12,
        "signal is a whole number, not the string 'KILL'",
    ),
    "unknown enum value": (
        HEAD + "  - grpc: Content/Write\n    messages: [{action: COMIT}]\n",
        4,
        17,
        "did you mean COMMIT?",
    ),
    "bytes of no kind": (
        HEAD + "  - grpc: Content/Write\n    messages: [{data: {hax: ff}}]\n",
        4,
        17,
        "this has no key hax; did you mean hex?",
    ),
    "two kinds of bytes": (
        HEAD + "  - grpc: Content/Write\n    messages: [{data: {hex: ff, text: a}}]\n",
        4,
        17,
        "this needs one of them",
    ),
    "messages where one is taken": (
        HEAD + "  - grpc: Tasks/Get\n    messages: [{}]\n",
        4,
        5,
        "Tasks/Get takes one request: write json",
    ),
    "json for an unknown method": (
        HEAD + "  - grpc: /a.B/C\n    json: {}\n",
        4,
        5,
        "json needs a method that is known",
    ),
    "half_close without a stream": (
        HEAD + "  - grpc: Tasks/Get\n    half_close: false\n",
        4,
        5,
        "half_close is for methods to which requests are streamed",
    ),
    "response of a stream": (
        HEAD + "  - grpc: Content/List\n    expect: {response: {}}\n",
        4,
        14,
        "gives a stream of answers: write responses",
    ),
    "responses of one answer": (
        HEAD + "  - grpc: Tasks/Get\n    expect: {responses: []}\n",
        4,
        14,
        "gives one answer: write response",
    ),
    "matcher in a request": (
        HEAD + "  - grpc: Tasks/Get\n    json: {container_id: !any }\n",
        4,
        26,
        "matchers only stand in expectations",
    ),
    "undefined in a request": (
        HEAD + "  - grpc: Tasks/Get\n    json: {container_id: '${x}'}\n",
        4,
        26,
        "undefined variable: x",
    ),
    "shim and address": (
        HEAD + "  - ttrpc: State\n    shim: x\n    address: y\n",
        5,
        5,
        "shim is there already",
    ),
    "neither shim nor address": (
        HEAD + "  - ttrpc: State\n",
        3,
        5,
        "a ttrpc step needs one of shim, address",
    ),
    "unknown ttrpc method without body": (
        HEAD + "  - ttrpc: a.B/C\n    shim: x\n",
        3,
        5,
        "an unknown one needs its service and a body",
    ),
    "bundle that is saved over": (
        "title: t\nvars: {b: 1}\nsteps:\n  - bundle: b\n",
        4,
        5,
        "b can't be saved: the name is in vars already",
    ),
    "bundle before it is made": (
        HEAD + "  - runc: create --bundle ${b} c\n  - bundle: b\n",
        3,
        11,
        "undefined variable: b is saved later",
    ),
    "config and raw": (
        HEAD + "  - bundle: b\n    config: {}\n    raw: x\n",
        5,
        5,
        "raw can't stand beside config",
    ),
    "an unclosed quote for runc": (HEAD + "  - runc: create 'x\n", 3, 5, "can't be split into words"),
    "a console that nobody ends": (
        HEAD + "  - runc: create x\n    console: c\n",
        4,
        5,
        "the background step c is never joined",
    ),
    "a console that runs twice": (
        HEAD + "  - runc: create x\n    console: c\n    eventually: 5s\n  - disconnect: c\n",
        5,
        5,
        "a step with a console runs once",
    ),
    "facet of a console": (
        HEAD + "  - runc: create x\n    console: c\n  - join: c\n    expect: {exit: 0}\n",
        6,
        14,
        "c is a console, which has no exit",
    ),
    "key of another step": (
        HEAD + "  - grpc: Tasks/Get\n    cwd: /\n",
        4,
        5,
        "cwd is not for a grpc step; it is for runc",
    ),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_step_names_its_place(kind: str) -> None:
    text, line, column, message = MALFORMED[kind]

    with pytest.raises(ScenarioErrors) as caught:
        load_text(text)

    assert any(
        message in error.message
        for error in caught.value.errors
        if error.mark and (error.mark.line, error.mark.column) == (line, column)
    ), str(caught.value)
