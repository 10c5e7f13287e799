"""A whole run on a fake engine: requirements, images, clean-up, leftovers, and the transcript that judges the same."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from socket_engine import FakeTarget, Seen, SocketEngine, facts, one

import sixhops.harness.run.scenario as module
from sixhops.harness.errors import InternalError
from sixhops.harness.exchange import HopMessage
from sixhops.harness.judge import judge
from sixhops.harness.run.made import Made, made_by
from sixhops.harness.run.requirements import missing_requirement
from sixhops.harness.run.result import ScenarioRun
from sixhops.harness.run.scenario import run_scenario
from sixhops.harness.run.transcript import Transcript, TranscriptWriter, read_transcript
from sixhops.harness.scenario.model import Hop
from sixhops.harness.target import RegistryAccess

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[[str], ScenarioRun]

CREATE = "{request: POST /containers/create, json: {Image: x}, expect: {status: 201}, save: {id: $.Id}}"


def changes(engine: SocketEngine) -> list[str]:
    """Return the requests that change something, in order."""
    return [line for line in engine.lines() if not line.startswith("GET")]


def test_the_steps_saves_reach_the_next_steps(run: Run, engine: SocketEngine) -> None:
    engine.json("POST /containers/create", {"Id": "c1"}, "201 Created")
    engine.json("GET /containers/c1/json", {"Id": "c1"})
    engine.json("DELETE /containers/c1.*", None, "204 No Content")

    result = run(
        f"steps:\n  - {CREATE}\n  - {{request: 'GET /containers/${{id}}/json', expect: {{json: {{Id: '${{id}}'}}}}}}"
    )

    assert result.passed
    assert [exchange.kind for exchange in result.exchanges] == ["request", "request"]
    assert changes(engine) == ["POST /containers/create", "DELETE /containers/c1?force=1&v=1"]


def test_the_first_failure_ends_the_steps_and_not_the_clean_up(run: Run, engine: SocketEngine) -> None:
    engine.json("POST /containers/create", {"message": "no"}, "404 Not Found")

    result = run(
        f"steps:\n  - {CREATE}\n  - request: POST /never\n"
        "cleanup:\n  - request: POST /tidy\n  - request: DELETE /containers/${id}\n  - request: POST /tidy/2\n"
    )

    assert result.verdict.status == "failed"
    assert changes(engine) == ["POST /containers/create", "POST /tidy", "POST /tidy/2"]
    assert result.logs == {"dockerd": "the last line"}


def test_each_step_is_reported_as_it_ends(target: FakeTarget, engine: SocketEngine) -> None:
    engine.json("GET /a", {})
    reported: list[str] = []

    def on_step(step: Any, exchange: Any, verdict: Any) -> None:
        reported.append(f"{step.name} {exchange.facets['status']} {verdict.status}")

    scenario = one(
        "steps:\n  - {name: a, request: GET /a}\n  - {name: b, request: GET /b, expect: {status: 200}}"
    )
    run_scenario(scenario, target, {}, on_step=on_step)

    assert reported == ["a 200 passed", "b 404 failed"]


def test_a_dead_program_is_named_after_a_failure(run: Run, target: FakeTarget) -> None:
    target.death = "dockerd has ended with status 2"

    assert run("steps:\n  - {request: GET /x, expect: {status: 200}}").target_error == target.death


@pytest.fixture
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at what is left once, instead of for seconds until it has gone."""
    real = module.settled_difference
    monkeypatch.setattr(
        module, "settled_difference", lambda residue, target: real(residue, target, timeout=0.0)
    )


@pytest.mark.usefixtures("no_settling")
def test_what_is_left_is_a_verdict_of_its_own(run: Run, engine: SocketEngine) -> None:
    """The engine says that it removed the container and still lists it."""
    there = [{"Id": "c1", "Names": ["/n"], "State": "running"}]
    created: list[int] = []
    engine.on(r"GET /containers/json\?all=1", lambda seen: seen.reply(there if created else []))
    engine.on(
        "POST /containers/create",
        lambda seen: [created.append(1), seen.reply({"Id": "c1"}, "201 Created")][1],
    )
    engine.json("DELETE /containers/c1.*", None, "204 No Content")

    result = run(f"steps:\n  - {CREATE}")

    assert result.verdict.status == "passed"
    assert [line.split(":")[0] for line in result.leftovers] == ["container"]
    assert not result.passed


def test_a_refused_removal_is_told(run: Run, engine: SocketEngine) -> None:
    engine.json("POST /containers/create", {"Id": "c1"}, "201 Created")
    engine.json("DELETE /containers/c1.*", {"message": "driver failed"}, "500 Internal Server Error")

    (line,) = run(f"steps:\n  - {CREATE}").leftovers

    assert line.startswith("container c1 can't be removed: 500 ")
    assert "driver failed" in line


def test_keep_leaves_everything(target: FakeTarget, engine: SocketEngine) -> None:
    engine.json("POST /containers/create", {"Id": "c1"}, "201 Created")

    run_scenario(one(f"steps:\n  - {CREATE}"), target, {}, keep=True)

    assert changes(engine) == ["POST /containers/create"]


def saved(scenario: Any, target: FakeTarget, folder: Path) -> tuple[ScenarioRun, Transcript]:
    """Run with a transcript beside, and return the run and what was read back."""
    writer = TranscriptWriter(folder / "t.jsonl", folder / "bodies", {"scenario": scenario.id})
    result = run_scenario(
        scenario,
        target,
        {},
        on_begin=lambda scope: writer.begin({"scenario": scope.values["scenario"]}),
        on_step=lambda _step, exchange, verdict: writer.exchange(exchange, verdict),
    )
    writer.finish({"verdict": str(result.verdict.status)}, result.exchanges, result.late)
    return result, read_transcript(folder / "t.jsonl")


def test_a_transcript_is_judged_like_the_run(
    target: FakeTarget, engine: SocketEngine, tmp_path: Path
) -> None:
    engine.raw("GET /x", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\x00")
    scenario = one(
        "steps:\n  - {request: GET /x, expect: {status: 200}}\n  - {request: GET /y, expect: {status: 200, json: {a: 1}}}"
    )

    result, read = saved(scenario, target, tmp_path)

    assert result.scope is not None
    assert [exchange.step for exchange in read.exchanges] == [0, 1]
    assert read.exchanges == result.exchanges
    assert judge(scenario, read.exchanges, result.scope) == result.verdict
    assert result.verdict.status == "failed"
    assert "status differs" in read.judgements[1].failures[0]["text"]


def test_a_transcript_with_messages_is_read_back_equal(
    engine: SocketEngine, target: FakeTarget, tmp_path: Path
) -> None:
    def note(seen: Seen) -> None:
        target.recorder.begin(Hop.REGISTRY).finish(
            "GET /v2/ -> 200", {"response_body": b"\xff", "status": 200}
        )
        seen.reply({})

    engine.on("GET /x", note)
    scenario = one("steps:\n  - {request: GET /x, expect: {registry: [GET /v2/ -> 200]}}")

    result, read = saved(scenario, target, tmp_path)

    assert result.passed
    assert read.exchanges == result.exchanges
    assert read.late == []


def test_what_no_step_saw_ended_is_late(engine: SocketEngine, target: FakeTarget, tmp_path: Path) -> None:
    opened: list[Any] = []

    def begin(seen: Seen) -> None:
        opened.extend([target.recorder.begin(Hop.CONTAINERD, lasting=True), target.recorder.begin(Hop.SHIM)])
        opened[0].update("Tasks/Wait -> ...", {"complete": False})
        seen.reply({})

    def end(seen: Seen) -> None:
        for message in opened:
            message.finish("Tasks/Wait -> OK", {"complete": True})
        seen.reply({})

    engine.on("GET /x", begin)
    engine.on("GET /y", end)
    scenario = one("steps:\n  - request: GET /x\n  - request: GET /y")

    result, read = saved(scenario, target, tmp_path)

    assert [message.summary for message in read.exchanges[0].messages] == ["Tasks/Wait -> ..."]
    assert [message.hop for message in result.late] == ["containerd", "shim"]
    assert read.late == result.late
    assert [[message.summary for message in messages] for _, messages in read.by_step()] == [
        ["Tasks/Wait -> OK", "Tasks/Wait -> OK"],
        [],
    ]


REQUIREMENTS = [
    ("{api: '>=1.42'}", {}, "needs API 1.42 or newer, and the engine has up to 1.41"),
    ("{api: '<=1.10'}", {}, "needs API 1.10 or older, and the engine has 1.12 or newer"),
    ("{root: true}", {"root": False}, "needs an engine that runs as root"),
    ("{cgroup: 2}", {}, "needs cgroup v2, and the host has v1"),
    ("{hop: shim}", {"hops": {Hop.SHIM: "no tap there"}}, "needs the shim hop: no tap there"),
    ("{program: docker}", {}, "needs a docker client, and the target has none"),
    ("{program: runc}", {}, "needs runc, and the target has none"),
]


@pytest.mark.parametrize(("requires", "there", "reason"), REQUIREMENTS)
def test_what_is_missing_skips_with_the_reason(
    target: FakeTarget, requires: str, there: dict[str, Any], reason: str, engine: SocketEngine
) -> None:
    target.facts = facts(**there)

    result = run_scenario(one(f"requires: {requires}\nsteps:\n  - request: GET /x"), target, {})

    assert (result.skipped, result.verdict.status, result.exchanges) == (reason, "skipped", [])
    assert engine.seen == []


def test_nothing_is_missing_when_all_is_there(target: FakeTarget) -> None:
    scenario = one(
        "requires: {api: '>=1.24', root: true, cgroup: 1, hop: engine}\nsteps:\n  - request: GET /x"
    )

    assert missing_requirement(scenario, target) is None


def test_fault_rules_are_set_without_templates_and_taken_back(
    target: FakeTarget, engine: SocketEngine
) -> None:
    seen: list[Any] = []
    target.registry = RegistryAccess(engine.address, mirrored=True, prefix="r", set_faults=seen.append)

    run_scenario(
        one(
            "vars: {name: y}\nregistry_faults:\n"
            "  - {match: 'GET /v2/${name}/*', status: 500, body: {text: 'no ${name}', repeat: 2}}\n"
            "steps:\n  - request: GET /x"
        ),
        target,
        {},
    )

    ((rule,), nothing) = seen
    assert (rule.method, rule.path, rule.body, nothing) == ("GET", "/v2/y/*", b"no yno y", [])


def test_faults_need_a_tap_of_ours(target: FakeTarget) -> None:
    scenario = one("registry_faults:\n  - {match: GET /v2/, status: 500}\nsteps:\n  - request: GET /x")

    assert missing_requirement(scenario, target) == (
        "needs faults at the registry, and there is no tap of ours in front of it"
    )


def message(method: str, path: str, status: int, answer: Any = None, **query: Any) -> HopMessage:
    fields: dict[str, Any] = {"method": method, "path": path, "status": status, "query": query}
    if answer is not None:
        fields["response_json"] = answer
    return HopMessage("engine", 0, 0.0, 0.0, "", fields)


MADE = [
    (message("POST", "/v1.41/containers/create", 201, {"Id": "a"}), Made(containers=["a"])),
    (message("POST", "/containers/create", 404, {"message": "no"}), Made()),
    (message("GET", "/containers/create", 200, {"Id": "a"}), Made()),
    (message("POST", "/v1.40/networks/create", 201, {"Id": "n", "Warning": ""}), Made(networks=["n"])),
    (message("POST", "/volumes/create", 201, {"Name": "v"}), Made(volumes=["v"])),
    (message("POST", "/images/create", 200, fromImage="a/b", tag="1"), Made(references=["a/b:1"])),
    (message("POST", "/images/create", 200, fromImage="a", tag="sha256:1"), Made(references=["a@sha256:1"])),
    (message("POST", "/images/create", 200, fromSrc="-", repo="a"), Made(references=["a"])),
    (message("POST", "/images/a/b:1/tag", 201, repo="c", tag="2"), Made(references=["c:2"])),
    (
        message("POST", "/commit", 201, {"Id": "sha256:1"}, repo="c"),
        Made(images=["sha256:1"], references=["c"]),
    ),
    (message("POST", "/images/load", 200, {"stream": "Loaded image: a:1\n"}), Made(references=["a:1"])),
    (
        message("POST", "/images/load", 200, {"stream": "Loaded image ID: sha256:1\n"}),
        Made(images=["sha256:1"]),
    ),
    (
        message("POST", "/build", 200, {"aux": {"ID": "sha256:1"}}, t="a:1"),
        Made(images=["sha256:1"], references=["a:1"]),
    ),
]


@pytest.mark.parametrize(("seen", "made"), MADE)
def test_what_was_made_is_read_from_the_engines_messages(seen: HopMessage, made: Made) -> None:
    assert made_by([], [seen, seen]) == made


@pytest.mark.usefixtures("no_settling")
def test_images_that_came_are_removed_and_those_that_were_there_stay(run: Run, engine: SocketEngine) -> None:
    images: list[dict[str, Any]] = [
        {"Id": "sha256:old", "RepoTags": ["mine:1"], "RepoDigests": None},
        {"Id": "sha256:else", "RepoTags": ["other:1"], "RepoDigests": []},
    ]

    def pull(seen: Seen) -> None:
        images[0]["RepoTags"].append("mine:2")
        images.append({"Id": "sha256:new", "RepoTags": ["mine:3"], "RepoDigests": ["mine@sha256:d"]})
        images.append({"Id": "sha256:foreign", "RepoTags": ["foreign:1"], "RepoDigests": []})
        seen.reply({"status": "done"})

    engine.on(r"GET /images/json\?all=1", lambda seen: seen.reply(images))
    engine.on("POST /images/create.*", pull)
    engine.json("DELETE /images/.*", [])

    result = run("steps:\n  - request: POST /images/create?fromImage=docker.io/library/mine&tag=3")

    assert changes(engine)[1:] == [
        "DELETE /images/mine:2?force=1",
        "DELETE /images/mine:3?force=1",
        "DELETE /images/mine@sha256:d?force=1",
        "DELETE /images/sha256:new?force=1",
    ]
    # Not ours to remove, but not there before either: told, not touched.
    assert any("foreign:1" in line for line in result.leftovers)


BUILT = SimpleNamespace(
    name="x",
    familiar_name="x",
    repository="library/x",
    tags=("latest",),
    format="docker",
    image_id="sha256:1",
    layers=(SimpleNamespace(chain_id="sha256:c"),),
    manifests=(SimpleNamespace(image_id="sha256:1", digest="sha256:m"),),
    variables=lambda: {"id": "sha256:1"},
)


def prepared(target: FakeTarget, use: str) -> ScenarioRun:
    scenario = one(f"images: [{{x: {use}}}]\nsteps:\n  - request: GET /x")
    return run_scenario(scenario, target, {"x": BUILT})  # type: ignore[dict-item]


def test_an_image_that_must_be_absent_is_removed_when_it_is_ours(
    target: FakeTarget, engine: SocketEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.registry = RegistryAccess(engine.address, mirrored=True, prefix="r")
    pushed: list[Any] = []
    monkeypatch.setattr("sixhops.harness.run.prepare.push", lambda built, address: pushed.append(built))
    engine.json("GET /images/x:latest/json", {"Id": "sha256:1"})

    result = prepared(target, "served")

    assert result.skipped is None
    assert pushed == [BUILT]
    assert changes(engine) == ["DELETE /images/x:latest?force=1", "DELETE /images/sha256:1?force=1"]


def test_a_foreign_image_of_the_same_name_skips_the_scenario(
    target: FakeTarget, engine: SocketEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.registry = RegistryAccess(engine.address, mirrored=True, prefix="r")
    monkeypatch.setattr("sixhops.harness.run.prepare.push", lambda built, address: None)
    engine.json("GET /images/x:latest/json", {"Id": "sha256:somebody's"})

    assert prepared(target, "served").skipped == (
        "another image is called x:latest here, and it is not ours to remove"
    )
    assert prepared(target, "present").skipped == "another image is called x:latest here"
    assert changes(engine) == []


def test_a_present_image_is_loaded_once(
    target: FakeTarget, engine: SocketEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.registry = RegistryAccess(engine.address, mirrored=True, prefix="r")
    monkeypatch.setattr("sixhops.harness.run.prepare.push", lambda built, address: None)

    def archive(built: Any, path: Path) -> None:
        path.write_bytes(b"archive")

    monkeypatch.setattr("sixhops.harness.run.prepare.docker_archive", archive)

    def take(seen: Seen) -> None:
        assert seen.body == b"archive"
        engine.json("GET /images/x:latest/json", {"Id": "sha256:1"})
        seen.reply({"stream": "Loaded image: x:latest\n"})

    engine.on("POST /images/load.*", take)

    prepared(target, "present")
    prepared(target, "present")

    assert changes(engine) == ["POST /images/load?quiet=1"]


def test_a_present_image_needs_no_registry(target: FakeTarget, engine: SocketEngine) -> None:
    engine.json("GET /images/x:latest/json", {"Id": "sha256:1"})

    assert prepared(target, "present").skipped is None


def test_a_target_without_a_registry_can_not_serve(target: FakeTarget) -> None:
    assert prepared(target, "served").skipped == (
        "the image x can't be served: the target fake has no registry of ours"
    )


def test_an_image_that_nobody_built_is_our_own_mistake(target: FakeTarget) -> None:
    with pytest.raises(InternalError, match="the image x was not built"):
        run_scenario(one("images: [x]\nsteps:\n  - request: GET /x"), target, {})
