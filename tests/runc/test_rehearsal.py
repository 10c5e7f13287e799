"""Going through a create that nobody asked for: all the way for a good document, without effect for a bad one."""

import json
from pathlib import Path

import pytest

from sixhops.runc.cli.template import template
from sixhops.runc.lifecycle import create, rehearsal
from sixhops.runc.main import foresee, rehearse


def test_a_container_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[int] = []
    plan = rehearsal.plan_container
    monkeypatch.setattr(rehearsal, "plan_container", lambda *a, **n: planned.append(len(plan(*a, **n))))
    document = json.loads(json.dumps(template()))
    document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}

    rehearse(json.dumps(document))

    assert len(planned) == 1
    assert planned[0] > 20


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"ociVersion": "1.0.2", "mounts": [3]}'])
def test_what_is_no_specification_has_no_effect(document: str) -> None:
    rehearse(document)


def test_what_was_foreseen_is_not_read_twice_unless_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(template()))
    foresee(str(tmp_path))
    parsed: list[str] = []
    parse = create.parse_spec
    monkeypatch.setattr(create, "parse_spec", lambda text: parsed.append(text) or parse(text))

    _, spec = create.read_bundle(str(tmp_path))
    assert (spec.hostname, parsed) == (template()["hostname"], [])

    file.write_text(json.dumps(template() | {"hostname": "other"}))
    _, spec = create.read_bundle(str(tmp_path))
    assert (spec.hostname, len(parsed)) == ("other", 1)


@pytest.mark.parametrize("text", ["", "[]", '{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_X"}}}'])
def test_what_cannot_be_foreseen_is_left_to_create(tmp_path: Path, text: str) -> None:
    foresee(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text(text)
    foresee(str(tmp_path))
    assert not create._foreseen
