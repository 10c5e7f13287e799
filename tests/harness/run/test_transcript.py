"""The transcript's format: what is written is read back equal, also what is large, late, cut off or amended."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.errors import ScenarioError
from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.run.transcript import LARGE, Bodies, Clock, TranscriptWriter, cause_of, read_transcript

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def writer(tmp_path: Path) -> TranscriptWriter:
    made = TranscriptWriter(tmp_path / "t/engine/a.jsonl", tmp_path / "bodies", {"scenario": "engine/a"})
    made.begin({"scenario": {"unique": "ab"}})
    return made


def message(sequence: int = 0, summary: str = "Create -> OK", **fields: Any) -> HopMessage:
    return HopMessage("shim", sequence, 1.0 + sequence, 1.5 + sequence, summary, fields)


def exchange(step: int = 0, *messages: HopMessage, **facets: Any) -> Exchange:
    return Exchange(step, f"step {step}", "request", step, step + 0.9, {"path": "/x"}, facets, list(messages))


def lines(writer: TranscriptWriter) -> list[dict[str, Any]]:
    return [json.loads(line) for line in writer.path.read_text().splitlines()]


def test_lines_are_there_while_the_scenario_runs(writer: TranscriptWriter) -> None:
    assert [line["scenario"] for line in lines(writer)] == ["engine/a"]

    writer.exchange(exchange(0, status=200))

    found = read_transcript(writer.path)
    assert [item.facets for item in found.exchanges] == [{"status": 200}]
    assert (found.scenario, found.outcome) == ("engine/a", {})
    writer.abandon()


def test_a_killed_run_leaves_what_it_had(writer: TranscriptWriter) -> None:
    writer.exchange(exchange(0))
    writer.exchange(exchange(1))
    writer.abandon()
    writer.path.write_text(writer.path.read_text()[:-20])

    assert [item.step for item in read_transcript(writer.path).exchanges] == [0]


def test_a_broken_line_in_the_middle_is_named(writer: TranscriptWriter) -> None:
    writer.exchange(exchange(0))
    writer.finish({})
    text = writer.path.read_text().splitlines()
    writer.path.write_text("\n".join([text[0], text[1][:-5], *text[2:]]) + "\n")

    with pytest.raises(ScenarioError, match=r"a\.jsonl:2:1: not a transcript of format 2"):
        read_transcript(writer.path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value"),
        ("[]", "its first line is no header"),
        ('{"sixhops-transcript": 1}', "it is of format 1; another version of sixhops wrote it"),
        ('{"sixhops-transcript": 2}', "'bodies'"),
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)

    with pytest.raises(ScenarioError, match=problem):
        read_transcript(tmp_path / "x.jsonl")


def test_large_values_are_kept_apart_by_content(writer: TranscriptWriter, tmp_path: Path) -> None:
    data, text = bytes(LARGE + 1), "\ud800ä" * LARGE
    writer.exchange(exchange(0, message(fields=[{"data": data}]), body=data, stdout=text))
    writer.finish({})

    assert len(list((tmp_path / "bodies").iterdir())) == 2
    assert writer.path.stat().st_size < 2000
    found = read_transcript(writer.path).exchanges[0]
    assert found.facets == {"body": data, "stdout": text}
    assert found.messages[0].fields == {"fields": [{"data": data}]}


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_missing_or_damaged_body_is_a_clear_error(
    writer: TranscriptWriter, tmp_path: Path, harm: str
) -> None:
    writer.exchange(exchange(0, body=bytes(LARGE + 1)))
    writer.finish({})
    (body,) = (tmp_path / "bodies").iterdir()
    if harm == "gone":
        body.unlink()
    else:
        body.write_bytes(b"x")

    with pytest.raises(ScenarioError, match=r"a\.jsonl:2:1.*(is missing: .*bodies/|is damaged)"):
        read_transcript(writer.path)


def test_bodies_refuse_nothing_twice(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path / "b")
    assert bodies.put(b"x") == bodies.put(b"x")
    assert bodies.get(bodies.put(b"x")) == b"x"


def test_a_message_is_written_once(writer: TranscriptWriter) -> None:
    seen = message(3)
    writer.exchange(exchange(0, seen))
    writer.exchange(exchange(1, seen, message(4)))
    writer.finish({})

    assert lines(writer)[2]["messages"][0] == {"$message": 3}
    found = read_transcript(writer.path)
    assert [item.sequence for item in found.exchanges[1].messages] == [3, 4]
    assert [[item.sequence for item in messages] for _, messages in found.by_step()] == [[3], [4]]


def test_a_later_version_of_an_open_message_is_late(writer: TranscriptWriter) -> None:
    open_, ended = message(0, "Wait -> ..."), message(0, "Wait -> OK")
    writer.exchange(exchange(0, open_))
    writer.exchange(exchange(1, ended))
    writer.finish({"verdict": "passed"}, late=[ended, message(1)])

    found = read_transcript(writer.path)
    assert [item.messages for item in found.exchanges] == [[open_], [ended]]
    assert found.late == [message(1)]
    assert found.by_step() == [(found.exchanges[0], [ended]), (found.exchanges[1], [message(1)])]


def test_what_changes_after_its_line_is_amended(writer: TranscriptWriter) -> None:
    done, forgotten = exchange(0), exchange(1)
    writer.exchange(done)
    done.error = "unfinished"
    writer.finish({"verdict": "failed"}, [done, forgotten])

    found = read_transcript(writer.path)
    assert [item.error for item in found.exchanges] == ["unfinished", None]
    assert found.outcome == {"verdict": "failed"}


def test_nothing_is_written_after_the_end(writer: TranscriptWriter) -> None:
    writer.finish({})

    with pytest.raises(ValueError, match="has ended"):
        writer.exchange(exchange(0))


def test_a_scenario_that_is_not_run_has_a_header_without_variables(tmp_path: Path) -> None:
    writer = TranscriptWriter(tmp_path / "a.jsonl", tmp_path / "bodies", {"scenario": "x"})
    assert not writer.has_begun

    writer.finish({"verdict": "skipped"})

    found = read_transcript(writer.path)
    assert (found.header["variables"], found.outcome) == (None, {"verdict": "skipped"})


@pytest.mark.parametrize(
    ("started", "attempts", "owner"), [(0.5, 1, 0), (0.95, 1, 0), (0.95, 2, 1), (1.2, 1, 1), (9.0, 1, 1)]
)
def test_a_late_message_belongs_to_the_step_in_which_it_began(
    started: float, attempts: int, owner: int
) -> None:
    steps = [exchange(0), exchange(1)]
    steps[1].attempts = attempts

    assert cause_of(HopMessage("shim", 0, started, started, "x"), steps) == owner
    assert cause_of(HopMessage("shim", 0, started, started, "x"), []) is None


def test_the_clock_ties_the_two_times_together() -> None:
    clock = Clock(100.0, "2026-11-25T05:00:00+00:00")

    assert clock.at(101.5).isoformat() == "2026-11-25T05:00:01.500000+00:00"


def test_any_value_is_read_back_equal(tmp_path: Path) -> None:
    chance = random.Random(4)

    def value(depth: int) -> Any:
        kind = chance.randrange(8 if depth else 6)
        if kind == 6:
            return [value(depth - 1) for _ in range(chance.randrange(4))]
        if kind == 7:
            keys = ["$bytes", "$body", "$plain", "$message", "a", "b"]
            return {key: value(depth - 1) for key in chance.sample(keys, chance.randrange(1, 3))}
        return [None, chance.random(), -chance.getrandbits(70), chance.randbytes(5), "\u2028\n\udcff", True][
            kind
        ]

    for number in range(200):
        writer = TranscriptWriter(tmp_path / f"{number}.jsonl", tmp_path / "bodies", {"scenario": "x"})
        writer.begin({"v": value(3)})
        facets = {f"f{at}": value(4) for at in range(4)}
        writer.exchange(exchange(0, message(0, **facets), **facets))
        writer.finish({})

        (found,) = read_transcript(writer.path).exchanges
        assert found.facets == facets
        assert found.messages[0].fields == facets
