from __future__ import annotations

import json
from pathlib import Path

import pytest

from sixhops.harness.coverage import (
    Level,
    Registry,
    check_refs,
    cover,
    load_requirements,
    normalise,
    operations_of,
    read_seen,
)
from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario.model import Requires, Scenario

HEAD = "prefix: engine-api\nhop: engine\nsource: API\nversion: '1.40'\n"
OPERATIONS = (
    HEAD
    + "operations:\n  ContainerCreate: {method: POST, path: /containers/create, statuses: [201, 404, 500]}\n"
)


def registry(folder: Path, text: str = OPERATIONS) -> Registry:
    (folder / "r.yaml").write_text(text)
    loaded, errors = load_requirements(folder)
    assert errors == []
    return loaded


def errors_of(folder: Path, text: str) -> list[str]:
    (folder / "r.yaml").write_text(text)
    return [str(error) for error in load_requirements(folder)[1]]


def scenario(path: Path, *refs: str, name: str = "engine/x") -> Scenario:
    path.write_text("title: x\nrefs:\n" + "".join(f"  - {ref}\n" for ref in refs))
    mark = Mark(str(path), 1, 1)
    return Scenario(name, str(path), "x", "engine", refs, {}, Requires(), {}, {}, (), (), (), mark)


def test_operation_is_a_requirement_for_each_status(tmp_path: Path) -> None:
    loaded = registry(tmp_path)

    requirement = loaded.requirements["engine-api/ContainerCreate/404"]

    assert requirement.text == "POST /containers/create answers 404 (Not Found)"
    assert (requirement.level, requirement.hop, requirement.source) == (Level.MUST, "engine", "API")
    assert loaded.requirements["engine-api/ContainerCreate/500"].level is Level.SHOULD
    assert str(requirement.mark).endswith("r.yaml:6:77")


def test_operation_is_a_group_and_has_a_shorthand(tmp_path: Path) -> None:
    loaded = registry(tmp_path)

    assert normalise("engine-api:ContainerCreate") in loaded
    assert "engine-api/ContainerCreate" in loaded.groups
    assert "engine-api" not in loaded
    assert "engine-api/Nothing" not in loaded


def test_requirement_may_have_a_source_of_its_own(tmp_path: Path) -> None:
    text = HEAD + "requirements:\n  a: {level: observed, text: it does, source: dockerd, version: '20'}\n"

    requirement = registry(tmp_path, text).requirements["engine-api/a"]

    assert (requirement.source, requirement.version, requirement.level) == ("dockerd", "20", Level.OBSERVED)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("requirements: {a: {level: maybe, text: x}}", ":5:27: level must be one of must, should, observed, not 'maybe'"),
        ("requirements: {a: {level: must}}", ":5:19: requirement engine-api/a needs level and text"),
        ("requirements: {a: {txet: y}}", "unknown key 'txet' in requirement engine-api/a; did you mean 'text'?"),
        ("requirements: [a]", ":5:15: requirements must be a mapping, not a list"),
        ("requirements: {a: {level: must, text: x}, a: {level: must, text: x}}", ":5:43: the key 'a' stands twice"),
        ("operations: {A: {method: GET, path: /, statuses: [200, 200]}}", ":5:56: status 200 stands twice in engine-api/A"),
        ("operations: {A: {method: GET, path: /}}", "operation engine-api/A needs statuses"),
        ("operations: {A: {method: GET, path: /, statuses: [ok]}}", "a status must be a whole number, not 'ok'"),
        ("requierments: {}", ":5:15: unknown key 'requierments' in a requirement file; did you mean 'requirements'?"),
    ],
)  # fmt: skip
def test_malformed_requirement_file(tmp_path: Path, body: str, message: str) -> None:
    errors = errors_of(tmp_path, HEAD + body)

    assert len(errors) == 1
    assert errors[0].endswith(message)


def test_requirement_file_without_prefix(tmp_path: Path) -> None:
    assert errors_of(tmp_path, "hop: engine\n")[0].endswith("r.yaml:1:1: a requirement file needs 'prefix'")


def test_requirement_file_of_no_hop(tmp_path: Path) -> None:
    errors = errors_of(tmp_path, "prefix: a\nhop: engin\nsource: s\nversion: '1'\n")

    assert errors[0].endswith(":2:6: no such hop: 'engin'; did you mean 'engine'?")


def test_duplicate_requirement_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OPERATIONS)
    (tmp_path / "b.yaml").write_text(HEAD + "requirements: {ContainerCreate/404: {level: must, text: x}}\n")

    loaded, errors = load_requirements(tmp_path)

    assert len(errors) == 1
    assert "b.yaml:5:37: requirement 'engine-api/ContainerCreate/404' is already defined at" in str(errors[0])
    assert "a.yaml:6:77" in str(errors[0])
    assert len(loaded.requirements) == 3


def test_errors_of_all_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("prefix: [")
    (tmp_path / "b.yaml").write_text("nothing: here\n")

    assert len(load_requirements(tmp_path)[1]) == 2


def test_known_refs_are_no_error(tmp_path: Path) -> None:
    one = scenario(tmp_path / "x.txt", "engine-api/ContainerCreate/404", "engine-api:ContainerCreate")

    assert check_refs([one], registry(tmp_path)) == []


def test_unknown_ref_names_its_line_and_the_nearest(tmp_path: Path) -> None:
    one = scenario(tmp_path / "x.txt", "engine-api/ContainerCreate/404", "engine-api/ContainerCraete/201")

    errors = check_refs([one], registry(tmp_path))

    assert len(errors) == 1
    assert str(errors[0]) == (
        f"{tmp_path / 'x.txt'}:4:5: refs: unknown requirement 'engine-api/ContainerCraete/201'; "
        "did you mean 'engine-api/ContainerCreate/201'?"
    )


def test_repeated_ref_is_an_error_also_in_two_spellings(tmp_path: Path) -> None:
    one = scenario(tmp_path / "x.txt", "engine-api/ContainerCreate", "engine-api:ContainerCreate")

    assert [error.message for error in check_refs([one], registry(tmp_path))] == [
        "refs: 'engine-api:ContainerCreate' stands twice"
    ]


def test_rows_of_a_file_are_checked_once(tmp_path: Path) -> None:
    rows = [scenario(tmp_path / "x.txt", "nothing", name=f"engine/x[{row}]") for row in "ab"]

    assert len(check_refs(rows, registry(tmp_path))) == 1


def test_cover_joins_scenarios_and_engines(tmp_path: Path) -> None:
    one = scenario(tmp_path / "x.txt", "engine-api/ContainerCreate/404")
    two = scenario(tmp_path / "y.txt", "engine-api/ContainerCreate/404", name="engine/y")
    seen = {"engine/x": {"20.10.24"}, "engine/y": {"28.5.2", "20.10.24"}}

    rows = cover(registry(tmp_path), [one, two], seen)

    assert [(row.requirement.id, row.scenarios, row.engines) for row in rows] == [
        ("engine-api/ContainerCreate/201", (), ()),
        ("engine-api/ContainerCreate/404", ("engine/x", "engine/y"), ("20.10.24", "28.5.2")),
        ("engine-api/ContainerCreate/500", (), ()),
    ]


def test_group_covers_none_of_its_children(tmp_path: Path) -> None:
    one = scenario(tmp_path / "x.txt", "engine-api:ContainerCreate")

    assert [row.scenarios for row in cover(registry(tmp_path), [one], {})] == [(), (), ()]


def test_seen_takes_only_what_passed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    entries = [
        {"id": "a", "verdict": "passed", "engine": "20.10"},
        {"id": "b", "verdict": "failed", "engine": "20.10"},
        {"id": "c", "verdict": "known", "engine": "20.10"},
    ]
    path.write_text(json.dumps({"format": 1, "scenarios": entries}))

    assert read_seen([path]) == {"a": {"20.10"}}


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "scenarios": []}', '{"format": 1}'])
def test_damaged_result_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)

    with pytest.raises(ScenarioError, match="not a result file of format 1"):
        read_seen([path])


def test_operations_of_a_swagger_document() -> None:
    get = {"operationId": "ContainerList", "responses": {"200": {}, 400: {}, "default": {}}}
    swagger = {"swagger": "2.0", "paths": {"/containers/json": {"get": get, "parameters": []}}}

    assert operations_of(swagger) == {
        "ContainerList": {"method": "GET", "path": "/containers/json", "statuses": [200, 400]}
    }


@pytest.mark.parametrize("document", [None, [], {}, {"openapi": "3.0", "paths": {}}])
def test_something_else_than_swagger_is_refused(document: object) -> None:
    with pytest.raises(ScenarioError, match="not an OpenAPI 2 document"):
        operations_of(document)


def test_requirements_of_the_project_are_sound() -> None:
    loaded, errors = load_requirements(Path(__file__).parents[3] / "scenarios" / "requirements")

    assert errors == []
    assert "engine-api/ContainerCreate/404" in loaded
    assert {
        f"registry/end-{number}" for number in (1, 2, 3, 5, 6, 7, 9, 10, 11, 13)
    } <= loaded.requirements.keys()
