"""Baselines as files: recorded, listed, found by name, unpacked; what is wrong with one is told."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from recorded_runs import SCENARIO, library, save

from sixhops.harness.baselines import BASELINES, find_baseline, list_baselines
from sixhops.harness.baselines.archive import write_archive
from sixhops.harness.baselines.fit import OF_MACHINE, fit, other_machine
from sixhops.harness.baselines.record import Made, record
from sixhops.harness.diff.model import Difference
from sixhops.harness.errors import UsageError
from sixhops.harness.plugin.library import Library
from sixhops.harness.run.transcript import read_header, read_transcript
from sixhops.harness.scenario.digest import digests

if TYPE_CHECKING:
    from pathlib import Path


def recorded(tmp_path: Path, *names: str, **more: object) -> Made:
    scenarios = Library(library(tmp_path, *names)).everything()
    return record("engine-1.0", [save(tmp_path / "run", *names, **more)], scenarios, tmp_path / "baselines")


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    made = recorded(tmp_path, "a", "b", large=b"\0" * 70_000)

    baseline = find_baseline("engine-1.0", tmp_path / "baselines")
    folder = baseline.unpack(tmp_path / "out")

    assert made.kept == made.gone == made.changed == made.undated == ()
    assert baseline.recorded == made.recorded
    assert made.recorded.counts == {"passed": 2}
    assert sorted(path.name for path in folder.rglob("*.jsonl")) == ["a.jsonl", "b.jsonl"]
    assert read_transcript(folder / "engine/a.jsonl").exchanges[0].facets["body"] == b"\0" * 70_000
    assert [path.name for path in (tmp_path / "out/bodies").iterdir()] == [
        hashlib.sha256(b"\0" * 70_000).hexdigest()
    ]


def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    recorded(tmp_path, "a", "b")

    folder = find_baseline("engine-1.0", tmp_path / "baselines").unpack(
        tmp_path / "out", frozenset({"engine/b"})
    )

    assert [path.name for path in folder.rglob("*.jsonl")] == ["b.jsonl"]


def test_the_same_run_makes_the_same_file(tmp_path: Path) -> None:
    scenarios = Library(library(tmp_path, "a")).everything()
    run = save(tmp_path / "run", "a")

    one, two = (record("engine-1.0", [run], scenarios, tmp_path / name).path for name in ("one", "two"))

    assert one.read_bytes() == two.read_bytes()


def test_what_is_no_baseline_is_told(tmp_path: Path) -> None:
    made = recorded(tmp_path, "a")
    folder = made.path.parent

    with pytest.raises(UsageError, match=r"no baseline 'engine-1\.1'; did you mean 'engine-1\.0'"):
        find_baseline("engine-1.1", folder)
    with pytest.raises(UsageError, match="none comes with this sixhops"):
        find_baseline("engine-1.0", tmp_path)
    baseline = find_baseline("engine-1.0", folder)
    made.path.write_bytes(made.path.read_bytes()[:-9])
    with pytest.raises(UsageError, match="is damaged"):
        baseline.unpack(tmp_path / "out")
    made.path.write_bytes(b"else")
    with pytest.raises(UsageError, match="is no baseline of this version"):
        find_baseline("engine-1.0", folder)


@pytest.mark.parametrize("name", ["../../out", "a/../../../out"])
def test_a_baseline_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    made = recorded(tmp_path, "a")
    write_archive(made.path, made.recorded, {name: b"x"}, [])

    with pytest.raises(UsageError, match=r"is damaged: .* is no member of a baseline"):
        find_baseline("engine-1.0", made.path.parent).unpack(tmp_path / "unpacked")

    assert not (tmp_path / "out").exists()


def test_runs_that_make_no_baseline_are_refused(tmp_path: Path) -> None:
    scenarios = Library(library(tmp_path, "a", "b")).everything()
    run = save(tmp_path / "run", "a")
    other = save(tmp_path / "other", "b", engine_version="28.5")

    def refused(name: str, *runs: Path) -> str:
        with pytest.raises(UsageError) as error:
            record(name, runs, scenarios, tmp_path)
        return str(error.value)

    assert "a baseline's name has small letters" in refused("../x", run)
    assert "a baseline is of one engine" in refused("x", run, other)
    assert "no transcript of a scenario of this suite, as it is now" in refused(
        "x", save(tmp_path / "c", "c")
    )
    assert "there is no transcript here" in refused("x", tmp_path / "scenarios")
    file = run / "transcripts/engine/a.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    assert "broke off" in refused("x", run)


def test_later_runs_replace_and_add(tmp_path: Path) -> None:
    first = recorded(tmp_path, "a", "b")
    scenarios = Library(library(tmp_path / "later", "b", "c")).everything()
    runs = [save(tmp_path / "one", "b", "c", status=409), save(tmp_path / "two", "c", status=404)]

    baseline = find_baseline("engine-1.0", first.path.parent)
    made = record("engine-1.0", runs, scenarios, first.path.parent, update=baseline)

    folder = find_baseline("engine-1.0", first.path.parent).unpack(tmp_path / "out")
    statuses = {
        path.stem: read_transcript(path).exchanges[0].facets["status"] for path in folder.rglob("*.jsonl")
    }
    assert statuses == {"b": 409, "c": 404}
    assert made.gone == ("engine/a",)
    assert list(made.recorded.scenarios) == ["engine/b", "engine/c"]


def test_what_an_update_does_not_replace_stays_as_it_was(tmp_path: Path) -> None:
    first = recorded(tmp_path, "a", "b", large=b"\0" * 70_000)
    kept = first.path.rename(tmp_path / "kept.tar.zst")
    scenarios = Library(tmp_path / "scenarios").everything()

    folder = tmp_path / "new"
    record("engine-1.0", [save(tmp_path / "b", "b")], scenarios, folder, update=find_baseline(str(kept)))

    old, new = (find_baseline(str(path)) for path in (kept, folder / "engine-1.0.tar.zst"))
    texts = [
        (item.unpack(tmp_path / name) / "engine/a.jsonl").read_bytes()
        for item, name in ((old, "old"), (new, "updated"))
    ]
    assert texts[0] == texts[1]
    assert len(list((tmp_path / "updated/bodies").iterdir())) == 1


def test_what_was_run_in_another_version_is_left_out(tmp_path: Path) -> None:
    scenarios = Library(library(tmp_path, "a", "b", "c")).everything()
    run = save(tmp_path / "run", "a")
    save(run, "b", text=SCENARIO.replace("POST", "PUT"))
    undated = save(run, "c") / "transcripts/engine/c.jsonl"
    undated.write_text(undated.read_text().replace('"digest": "', '"was": "', 1))

    made = record("engine-1.0", [run], scenarios, tmp_path)

    assert made.changed == ("engine/b",)
    assert made.undated == ("engine/c",)
    assert list(made.recorded.scenarios) == ["engine/a"]


def test_the_place_of_a_tree_is_not_recorded(tmp_path: Path) -> None:
    scenarios = Library(library(tmp_path, "a")).everything()
    run = save(tmp_path / "run", "a", name="upstream@/srv/my/engine-9")
    file = run / "transcripts/engine/a.jsonl"
    file.write_text(file.read_text().replace('"method": "POST"', '"argv": ["/srv/my/engine-9/bin/docker"]'))

    made = record("engine-1.0", [run], scenarios, tmp_path)

    assert made.recorded.target["name"] == "upstream@/trees/engine-9"
    found = find_baseline(str(made.path)).unpack(tmp_path / "out") / "engine/a.jsonl"
    assert read_transcript(found).exchanges[0].sent["argv"] == ["/trees/engine-9/bin/docker"]
    assert "/srv" not in found.read_text()
    assert read_header(found)["digest"] == made.recorded.scenarios["engine/a"].digest


def test_what_can_not_be_compared_is_told(tmp_path: Path) -> None:
    made = recorded(tmp_path, "a", "b", "c")
    root = tmp_path / "scenarios/engine"
    (root / "a.yaml").write_text(SCENARIO)
    (root / "c.yaml").unlink()
    (root / "d.yaml").write_text(SCENARIO)

    found = fit(made.recorded, digests(Library(tmp_path / "scenarios").everything()))

    since = f"the baseline engine-1.0 of {made.recorded.recorded[:10]}"
    assert found.usable == {"engine/b"}
    assert list(found.notices(made.recorded)) == [
        f"not compared: 1 scenarios are newer than {since}: engine/d",
        f"not compared: 1 scenarios do something else than in {since}: engine/a",
        f"not compared: 1 scenarios of {since} are no longer in the suite: engine/c",
    ]
    target = {**made.recorded.target, "cgroup_version": 2}
    (line,) = other_machine(made.recorded, target)
    assert "engine-1.0 was recorded with control groups of version 1" in line
    assert line.endswith("this run was made with control groups of version 2")


def test_how_large_a_machine_is_varies_between_a_baseline_and_any_run() -> None:
    def found(path: str, message: str = "GET /v1.40/info -> 200") -> Difference:
        return Difference("engine/a", 0, "look", "engine", message, path, "changed", 2, 4)

    (entry,) = OF_MACHINE.varies

    assert entry.covers(found("json.NCPU"))
    assert entry.covers(found("json.MemTotal"))
    assert not entry.covers(found("json.Driver"))
    assert not entry.covers(found("json.NCPU", "GET /v1.40/version -> 200"))


def test_the_baselines_that_come_with_the_package_are_whole() -> None:
    names = [baseline.name for baseline in list_baselines()]

    assert names == [path.name.removesuffix(".tar.zst") for path in sorted(BASELINES.glob("*.tar.zst"))]
    assert {"dockerd-20.10", "dockerd-26", "dockerd-28"} <= set(names)
    for baseline in list_baselines():
        assert sum(baseline.recorded.counts.values()) == len(baseline.recorded.scenarios) > 1000
