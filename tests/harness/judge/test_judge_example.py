# ruff: noqa: E501 - a table of texts reads best with one row a line
"""The example of the design loads, holds on hand-made exchanges, and names any single thing that is broken in them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from sixhops.harness.exchange import Exchange, HopMessage, from_json, to_json
from sixhops.harness.judge import Status, format_mismatches, judge
from sixhops.harness.scenario.load import load_text
from sixhops.harness.scenario.variables import make_scope

EXAMPLE = """\
title: docker run hello-world, one hop at a time
refs: [engine-api:ContainerCreate, engine-api:ImageCreate]
images: [hello-world]
steps:
  - name: the image is not here yet
    request: POST /containers/create
    json: {Image: hello-world}
    expect: {status: 404, json: {message: "No such image: hello-world:latest"}}
  - name: pull it
    request: POST /images/create?fromImage=hello-world&tag=latest
    expect:
      status: 200
      stream:
        - {status: Pulling from library/hello-world, id: latest}
        - !some                      # any number of lines in between
        - {status: "Status: Downloaded newer image for hello-world:latest"}
      registry:
        - GET /v2/library/hello-world/manifests/${images.hello-world.digest} -> 200
  - name: create
    request: POST /containers/create
    json: {Image: hello-world}
    expect: {status: 201, json: {Id: !re "^[0-9a-f]{64}$", Warnings: !any }}
    save: {id: $.Id}
  - name: attach
    background: attached
    request: POST /containers/${id}/attach?stream=1&stdout=1&stderr=1
    upgrade: tcp
    expect: {status: 101}
  - name: start
    request: POST /containers/${id}/start
    expect:
      status: 204
      containerd: [Containers/Create, Tasks/Create, Tasks/Start]
      shim: [Create, Start]
      runtime: [create, start]
  - join: attached
    expect: {stdout: !contains "Hello from Docker!", stderr: ""}
"""
IMAGES = {"hello-world": {"digest": "sha256:d1"}}
SCENARIO = load_text(EXAMPLE, "walkthrough/hello.yaml")[0]


def exchange(step: int, hops: dict[str, list[str]] | None = None, **facets: Any) -> Exchange:
    lines = [(hop, line) for hop, lines in (hops or {}).items() for line in lines]
    messages = [HopMessage(hop, index, 0.0, 0.0, line, {}) for index, (hop, line) in enumerate(lines)]
    name = SCENARIO.steps[step].name if step < len(SCENARIO.steps) else "?"
    return Exchange(step, name, "request", 0.0, 1.0, facets=facets, messages=messages)


def good() -> list[Exchange]:
    manifest = "GET /v2/library/hello-world/manifests/sha256:d1 -> 200"
    calls = ["Containers/Create", "Snapshots/Prepare", "Tasks/Create", "Tasks/Start"]
    done = {"status": "Status: Downloaded newer image for hello-world:latest"}
    stream = [
        {"status": "Pulling from library/hello-world", "id": "latest"},
        {"status": "Pull complete"},
        done,
    ]
    return [
        exchange(0, status=404, json={"message": "No such image: hello-world:latest"}),
        exchange(1, {"registry": ["GET /v2/ -> 200", manifest]}, status=200, stream=stream),
        exchange(2, status=201, json={"Id": "ab" * 32, "Warnings": []}),
        exchange(3, status=101),
        exchange(
            4, {"containerd": calls, "shim": ["Create", "Start"], "runtime": ["create", "start"]}, status=204
        ),
        exchange(5, stdout="\nHello from Docker!\n", stderr=""),
    ]


def test_the_example_holds() -> None:
    verdict = judge(SCENARIO, good(), make_scope(SCENARIO, IMAGES))

    assert format_mismatches(verdict.mismatches) == ""
    assert verdict.status is Status.PASSED
    assert verdict.steps[2].saved == {"id": "ab" * 32}
    assert [step.checked for step in verdict.steps] == [2, 3, 2, 1, 4, 2]


def test_judging_is_pure() -> None:
    seen = good()
    before = copy.deepcopy(seen)
    scope = make_scope(SCENARIO, IMAGES, unique="u")

    assert judge(SCENARIO, seen, scope) == judge(SCENARIO, list(reversed(seen)), scope)
    assert seen == before


Break = Callable[[list[Exchange]], Any]


def put(step: int, facet: str, value: Any) -> Break:
    return lambda seen: seen[step].facets.__setitem__(facet, value)


def drop(step: int, facet: str) -> Break:
    return lambda seen: seen[step].facets.pop(facet)


def silence(step: int, summary: str) -> Break:
    return lambda seen: setattr(
        seen[step], "messages", [m for m in seen[step].messages if m.summary != summary]
    )


def swap(step: int, one: str, other: str) -> Break:
    def do(seen: list[Exchange]) -> None:
        messages = seen[step].messages
        i, j = (next(k for k, m in enumerate(messages) if m.summary == summary) for summary in (one, other))
        messages[i], messages[j] = messages[j], messages[i]

    return do


# what is broken, the line of the expectation, and what the report must say
BREAKS: dict[str, tuple[Break, int, tuple[str, ...]]] = {
    "status": (put(0, "status", 500), 8, ("step 1: the image is not here yet", "[engine hop] status differs", "expected  404", "seen      500")),
    "status of another type": (put(0, "status", "404"), 8, ("status is of another type", "404  (integer)", '"404"  (string)')),
    "message": (put(0, "json", {"message": "x"}), 8, ("json $.message differs", '"No such image: hello-world:latest"', '"x"')),
    "message dropped": (put(0, "json", {"error": 1}), 8, ("json $.message is not there", "the keys that are there: error")),
    "no JSON": (drop(0, "json"), 8, ("json $ was not seen: there is no json", "what the step did see: status")),
    "stream cut": (lambda seen: seen[1].facets["stream"].pop(), 13, ("stream lacks element 2", "Status: Downloaded newer image")),
    "stream begins otherwise": (put(1, "stream", [{"status": "Pulling", "id": "latest"}, {"status": "Status: Downloaded newer image for hello-world:latest"}]), 13, ("stream[0].status differs", '"Pulling from library/hello-world"')),
    "registry message": (silence(1, "GET /v2/library/hello-world/manifests/sha256:d1 -> 200"), 17, ("[registry hop] registry lacks message 0", "sha256:d1 -> 200", "messages seen:", "GET /v2/ -> 200")),
    "no registry message": (lambda seen: setattr(seen[1], "messages", []), 17, ("nothing happened here",)),
    "matcher": (put(2, "json", {"Id": "xyz", "Warnings": []}), 22, ("$.Id does not match", '!re "^[0-9a-f]{64}$"', '"xyz"')),
    "any of what is gone": (put(2, "json", {"Id": "ab" * 32}), 22, ("$.Warnings is not there",)),
    "status of the upgrade": (put(3, "status", 200), 28, ("step 4: attach", "expected  101")),
    "containerd order": (swap(4, "Tasks/Create", "Tasks/Start"), 33, ("[containerd hop]", "but earlier")),
    "shim": (silence(4, "Start"), 34, ("[shim hop] shim lacks message 1",)),
    "runtime": (silence(4, "create"), 35, ("[runtime hop] runtime lacks message 0",)),
    "output": (put(5, "stdout", "Goodbye\n"), 37, ("step 6: join attached", "stdout does not contain it", '!contains "Hello from Docker!"', '"Goodbye\\n"')),
    "output as bytes": (put(5, "stdout", b"\xff"), 37, ("b'\\xff'",)),
    "error output": (put(5, "stderr", "oops"), 37, ("stderr differs", '"oops"')),
    "error of the step": (lambda seen: setattr(seen[3], "error", "connection refused"), 24, ("step 4: attach", "connection refused")),
    "step not performed": (lambda seen: seen.pop(), 36, ("step 6", "the step was not performed")),
}  # fmt: skip


@pytest.mark.parametrize("kind", BREAKS)
def test_a_single_broken_thing_is_named(kind: str) -> None:
    damage, line, said = BREAKS[kind]
    seen = good()
    damage(seen)

    verdict = judge(SCENARIO, seen, make_scope(SCENARIO, IMAGES))
    text = format_mismatches(verdict.mismatches)

    assert verdict.status is Status.FAILED
    assert f"walkthrough/hello.yaml:{line}:" in text
    for part in said:
        assert part in text
    assert len({failure.facet for failure in verdict.mismatches}) == 1, text


def test_everything_broken_is_reported_at_once() -> None:
    seen = good()
    for kind in ("status", "message", "registry message", "shim", "output"):
        BREAKS[kind][0](seen)

    facets = [failure.facet for failure in judge(SCENARIO, seen, make_scope(SCENARIO, IMAGES)).mismatches]

    assert facets == ["status", "json", "registry", "shim", "stdout"]


def test_a_saved_run_is_judged_alike() -> None:
    seen = good()
    seen[5].facets["stdout"] = b"\xff Hello from Docker!"
    back = [
        Exchange(
            **{
                **{name: getattr(e, name) for name in Exchange.__slots__},
                "facets": from_json(to_json(e.facets)),
            }
        )
        for e in seen
    ]

    assert judge(SCENARIO, back, make_scope(SCENARIO, IMAGES)).status is Status.PASSED
