"""What well-formed files become."""

from __future__ import annotations

from pathlib import Path

import pytest

from sixhops.harness.errors import Mark, ScenarioError, ScenarioErrors
from sixhops.harness.scenario.load import load_file, load_text, load_tree
from sixhops.harness.scenario.model import (
    ApiRange,
    CloseStdinStep,
    DisconnectStep,
    DockerStep,
    FileStep,
    Hop,
    Matcher,
    ProcessesStep,
    RegistryStep,
    RequestStep,
    SendStep,
    Step,
    Template,
    TtySize,
)

ROOT = Path(__file__).parents[3] / "scenarios"
SCENARIO = "title: t\nsteps:\n"


def step(text: str, **_: object) -> Step:
    return load_text(f"{SCENARIO}  - {text}\n")[0].steps[0]


def test_a_request_has_its_defaults() -> None:
    made = step("request: GET /containers/json")

    assert isinstance(made, RequestStep)
    assert (made.method, made.path, made.api, made.name) == (
        "GET",
        "/containers/json",
        "1.40",
        "GET /containers/json",
    )
    assert (made.timeout, made.half_close, made.has_json, made.index, made.is_cleanup) == (
        30.0,
        True,
        False,
        0,
        False,
    )
    assert made.mark == Mark("scenario.yaml", 3, 5)


def test_json_null_is_a_body() -> None:
    made = step("request: POST /x\n    json: null")

    assert isinstance(made, RequestStep)
    assert made.has_json
    assert made.json is None


@pytest.mark.parametrize(
    ("scenario", "own", "version"),
    [
        ("", "", "1.40"),
        ("api: none\n", "", None),
        ('api: "1.25"\n', "", "1.25"),
        ("api: none\n", 'api: "1.41"', "1.41"),
    ],
)
def test_the_api_version_of_a_step(scenario: str, own: str, version: str | None) -> None:
    made = load_text(f"title: t\n{scenario}steps:\n  - request: GET /x\n    {own}\n")[0].steps[0]

    assert isinstance(made, RequestStep)
    assert made.api == version


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("10s", 10.0), ("2m", 120.0), ("1.5s", 1.5)])
def test_times_are_seconds(text: str, seconds: float) -> None:
    assert step(f"request: GET /x\n    timeout: {text}").timeout == seconds


def test_a_command_line_is_split_as_a_shell_would() -> None:
    made = load_text("title: t\nvars: {n: x y}\nsteps:\n  - docker: run -e 'A=b c' ${n} --x\n")[0].steps[0]

    assert isinstance(made, DockerStep)
    assert made.argv[:3] == ("run", "-e", "A=b c")
    assert isinstance(made.argv[3], Template)
    assert made.argv[3].text == "${n}"


def test_a_terminal_has_a_size() -> None:
    made = step("docker: [run, -it, 5]\n    tty: {rows: 24, columns: 80}")

    assert isinstance(made, DockerStep)
    assert made.tty == TtySize(24, 80)
    assert made.argv == ("run", "-it", 5)


def test_the_other_steps() -> None:
    text = """\
title: t
steps:
  - registry: PUT /v2/x
    body: {base64: AAE=}
  - processes: all
  - processes: {comm: !re "^runc" }
  - file: /etc/passwd
  - request: POST /attach
    background: b
  - send: {to: b, text: "x"}
  - send: {to: b, hex: 00 01, repeat: 2}
  - close_stdin: b
  - disconnect: b
cleanup:
  - file: /x
"""
    scenario = load_text(text)[0]
    registry, every, some, file, _, plain, raw, close, cut = scenario.steps

    assert isinstance(registry, RegistryStep)
    assert registry.body == {"base64": "AAE="}
    assert isinstance(every, ProcessesStep)
    assert every.select == {}
    assert isinstance(some, ProcessesStep)
    assert isinstance(some.select["comm"], Matcher)
    assert isinstance(file, FileStep)
    assert isinstance(plain, SendStep)
    assert (plain.target, plain.data) == ("b", "x")
    assert isinstance(raw, SendStep)
    assert raw.data == {"hex": "00 01", "repeat": 2}
    assert isinstance(close, CloseStdinStep)
    assert isinstance(cut, DisconnectStep)
    assert (scenario.cleanup[0].index, scenario.cleanup[0].is_cleanup) == (9, True)


def test_images_are_served_unless_said_otherwise() -> None:
    uses = load_text(
        "title: t\nimages: [a, {b: present}, {c: absent}, {d: {served: false}}]\nsteps: [{request: GET /}]\n"
    )[0].images

    assert {name: (use.present, use.served) for name, use in uses.items()} == {
        "a": (False, True),
        "b": (True, True),
        "c": (False, False),
        "d": (False, False),
    }


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("1.40", ApiRange((1, 40), (1, 40))),
        (">=1.40", ApiRange((1, 40), None)),
        ("<=1.40", ApiRange(None, (1, 40))),
        ("1.25-1.40", ApiRange((1, 25), (1, 40))),
    ],
)
def test_requires_an_api(text: str, versions: ApiRange) -> None:
    assert (
        load_text(f'title: t\nrequires: {{api: "{text}"}}\nsteps: [{{request: GET /}}]\n')[0].requires.api
        == versions
    )


def test_requires_hops_and_programs_in_either_form() -> None:
    needs = load_text(
        "title: t\nrequires: {hop: registry, hops: [shim], program: docker, programs: [runc], root: true, cgroup: 2}\n"
        "steps: [{request: GET /}]\n"
    )[0].requires

    assert needs.hops == {Hop.REGISTRY, Hop.SHIM}
    assert needs.programs == {"docker", "runc"}
    assert (needs.root, needs.cgroup) == (True, 2)


def test_each_row_is_a_scenario() -> None:
    scenarios = load_text(
        "title: t\nfor: [{a: 1, b: x y}, {id: named, a: 2, b: z}]\nsteps: [{request: 'GET /${row.a}'}]\n"
    )

    assert [scenario.id for scenario in scenarios] == ["scenario[1-x_y]", "scenario[named]"]
    assert scenarios[0].row == {"a": 1, "b": "x y"}
    assert scenarios[0].steps is scenarios[1].steps


def test_a_row_can_hold_the_whole_request_line_and_a_status() -> None:
    text = (
        "title: t\nfor: [{id: a, line: GET /x, s: 500}, {id: b, line: 'POST /${scenario.unique}', s: 404}]\n"
        "registry_faults: [{match: '* /v2/*', status: '${row.s}', body: 'no'}]\nsteps: [{request: '${row.line}'}]\n"
    )
    first, second = load_text(text.replace("'POST /${scenario.unique}'", "POST /y"))

    assert [
        (s.steps[0].method, s.steps[0].path) for s in (first, second) if isinstance(s.steps[0], RequestStep)
    ] == [
        ("GET", "/x"),
        ("POST", "/y"),
    ]
    assert [scenario.registry_faults[0].status for scenario in (first, second)] == [500, 404]
    assert (first.registry_faults[0].method, first.registry_faults[0].path) == ("*", "/v2/*")


def test_scalars_are_those_of_yaml_1_2() -> None:
    made = step(
        "request: POST /x\n    json: [yes, on, 010, 1:30, 2001-01-01, 0x10, ~, null, true, -5, 1.5, 1e3, '1', .5, 1_000, +1]"
    )

    assert isinstance(made, RequestStep)
    assert made.json == [
        "yes",
        "on",
        "010",
        "1:30",
        "2001-01-01",
        "0x10",
        None,
        None,
        True,
        -5,
        1.5,
        1000.0,
        "1",
        0.5,
        "1_000",
        1,
    ]


def test_escaped_variables_are_plain_text() -> None:
    made = step("request: POST /x\n    json: ['$${a}', '$$', '$${a} ${scenario.id}']")

    assert isinstance(made, RequestStep)
    assert isinstance(made.json, list)
    assert made.json[:2] == ["${a}", "$$"]
    assert isinstance(made.json[2], Template)


def test_the_hop_is_the_first_folder(tmp_path: Path) -> None:
    (tmp_path / "engine" / "deep").mkdir(parents=True)
    path = tmp_path / "engine" / "deep" / "a.yaml"
    path.write_text(f"{SCENARIO}  - request: GET /x\n")

    scenario = load_file(path, tmp_path)[0]

    assert (scenario.id, scenario.hop, scenario.path) == ("engine/deep/a", "engine", str(path))


def test_a_file_outside_of_the_folder_has_no_hop(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{SCENARIO}  - request: GET /x\n")

    scenario = load_file(path, ROOT)[0]

    assert (scenario.id, scenario.hop) == ("mine", "")


def test_a_tree_is_loaded_past_its_errors(tmp_path: Path) -> None:
    for name in ("engine", "images", "engines", "requirements"):
        (tmp_path / name).mkdir()
    for name in ("b", "a"):
        (tmp_path / "engine" / f"{name}.yaml").write_text(f"{SCENARIO}  - request: GET /x\n")
    (tmp_path / "engine" / "bad.yaml").write_text("title: [\nx: {\n")
    (tmp_path / "engine" / "odd.yml").write_text("")
    (tmp_path / "engines" / "x.yaml").write_text("no scenario")

    report = load_tree(tmp_path)

    assert [scenario.id for scenario in report.scenarios] == ["engine/a", "engine/b"]
    assert [error.mark.path.rsplit("/", 1)[1] for error in report.errors if error.mark] == [
        "bad.yaml",
        "odd.yml",
    ]
    assert [s.id for s in load_tree(tmp_path, lambda path: path.stem == "b").scenarios] == ["engine/b"]


def test_the_project_s_own_scenarios_load() -> None:
    report = load_tree(ROOT)

    assert [str(error) for error in report.errors] == []
    assert len({scenario.id for scenario in report.scenarios}) == len(report.scenarios) > 0


def test_errors_are_scenario_errors_for_the_exit_code() -> None:
    with pytest.raises(ScenarioError):
        load_text("x: 1\n")


def test_what_is_known_of_a_bundles_image_can_be_named() -> None:
    files = "{file: '/${images.busybox.id}'}, {file: '/${images.other.id}'}"
    text = f"title: t\nsteps: [{{bundle: b, image: busybox}}, {files}]\n"

    with pytest.raises(ScenarioErrors) as caught:
        load_text(text)

    assert [error.message for error in caught.value.errors] == [
        "undefined variable: the scenario uses no image other; name it in `images`"
    ]
