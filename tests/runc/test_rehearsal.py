"""Going through a create that nobody asked for: all the way for a good document, without effect for a bad one."""

import json
from pathlib import Path
from typing import Any

import pytest

from sixhops.runc.cli.template import template
from sixhops.runc.lifecycle import bundle, outline, state
from sixhops.runc.main import foresee, rehearse
from sixhops.values import replace


def test_a_container_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[int] = []
    plan = outline.plan_container

    def counted(*arguments: Any, **named: Any) -> Any:
        found = plan(*arguments, **named)
        planned.append(len(found))
        return found

    monkeypatch.setattr(outline, "plan_container", counted)

    document = json.loads(json.dumps(template()))
    document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}

    rehearse(json.dumps(document))

    assert len(planned) == 1
    assert planned[0] > 20


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"ociVersion": "1.0.2", "mounts": [3]}'])
def test_what_is_no_specification_has_no_effect(document: str) -> None:
    rehearse(document)


def test_a_record_is_written_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[list[str]] = []
    save = state.save

    def seen(container: state.Container) -> None:
        save(container)
        saved.append(sorted(path.name for path in Path(container.directory).iterdir()))

    monkeypatch.setattr(state, "save", seen)
    (tmp_path / "rehearsal").mkdir()  # what one that was killed has left
    (tmp_path / "rehearsal" / "state.json").touch()
    for _ in range(2):
        rehearse(json.dumps(template()), str(tmp_path))

    assert [names for names in saved if names] == [["exec.fifo", "state.json"]] * 2
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_written_has_no_effect(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    rehearse(json.dumps(template()), str(tmp_path / "file"))


def test_what_was_foreseen_is_not_read_twice_unless_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(template()))
    foresee(str(tmp_path), "c1")
    parsed: list[str] = []
    parse = bundle.parse_spec
    monkeypatch.setattr(bundle, "parse_spec", lambda text: parsed.append(text) or parse(text))

    _, spec = bundle.read_bundle(str(tmp_path))
    assert (spec.hostname, parsed) == (template()["hostname"], [])

    file.write_text(json.dumps(template() | {"hostname": "other"}))
    _, spec = bundle.read_bundle(str(tmp_path))
    assert (spec.hostname, len(parsed)) == ("other", 1)


def test_what_a_bundle_is_going_to_say_can_be_foreseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps(template())
    path = tmp_path / "later"
    foresee(str(path), "c1", -1, text)
    place = outline.Place("c1", str(path), f"{path}/rootfs")
    (found,) = outline._foreseen
    monkeypatch.setattr(bundle, "parse_spec", lambda _text: pytest.fail("it is known"))

    path.mkdir()
    (path / "config.json").write_text(text)
    _, spec = bundle.read_bundle(str(path))

    assert outline.outline_of(spec, place, None) is found


def test_an_outline_is_of_one_place(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(template()))
    foresee(str(tmp_path), "c1")
    _, spec = bundle.read_bundle(str(tmp_path))
    place = outline.Place("c1", str(tmp_path), f"{tmp_path}/rootfs")

    found = outline.outline_of(spec, place, None)

    assert outline.outline_of(spec, place, None) is found
    for changes in (
        {"identifier": "c2"},
        {"bundle": "/b"},
        {"rootfs": "/r"},
        {"pivot": False},
        {"keyring": False},
    ):
        other = replace(place, **changes)
        assert outline.outline_of(spec, other, None).place == other


@pytest.mark.parametrize("text", ["", "[]", '{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_X"}}}'])
def test_what_cannot_be_foreseen_is_left_to_create(tmp_path: Path, text: str) -> None:
    foresee(str(tmp_path / "absent"), "c1")
    (tmp_path / "config.json").write_text(text)
    foresee(str(tmp_path), "c1")
    assert not outline._foreseen
    foresee(str(tmp_path), "c1", -1, text)
    assert not outline._foreseen
