"""Stand-ins for what is random: the same in every run, and nothing that a comparison sees is changed by them."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recorded_runs import save

from sixhops.harness.baselines.reduce import is_faithful, reduce, without_search_path
from sixhops.harness.diff.compare import diff
from sixhops.harness.diff.normalise import normalise
from sixhops.harness.run.transcript import Transcript, read_transcript, transcript_of

REAL = sorted((Path(__file__).parents[3] / "docs" / "runs" / "dockerd-20.10").rglob("*.jsonl"))


def reduced(file: Path) -> tuple[list[str], Transcript, Transcript]:
    transcript = read_transcript(file)
    last = max(exchange.ended for exchange in transcript.exchanges)
    moment = transcript.clock.at(last).replace(microsecond=0) + timedelta(seconds=1)
    lines = reduce(file.read_text().split("\n"), transcript, moment)
    return lines, transcript, transcript_of(lines, file)


def test_two_runs_become_the_same_bytes(tmp_path: Path) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    texts = []
    for run in ("a", "b"):
        file = save(tmp_path / run, "x") / "transcripts/engine/x.jsonl"
        texts.append(reduce(file.read_text().split("\n"), read_transcript(file), moment))

    assert texts[0] == texts[1]
    assert "logged" not in "".join(texts[0])


def test_a_comparison_sees_the_same(tmp_path: Path) -> None:
    file = save(tmp_path, "x") / "transcripts/engine/x.jsonl"

    lines, before, after = reduced(file)

    assert is_faithful(before, after)
    assert diff(normalise(before), normalise(after)) == []
    # It is the whole of it that is compared: another value is another transcript.
    other = transcript_of([line.replace("0001-01-01", "0002-01-01") for line in lines], file)
    assert not is_faithful(before, other)


def test_what_is_not_random_stays(tmp_path: Path) -> None:
    _, before, after = reduced(save(tmp_path, "x") / "transcripts/engine/x.jsonl")

    was, now = before.exchanges[0].facets["json"], after.exchanges[0].facets["json"]
    assert now["Image"] == was["Image"]
    assert now["Expires"] == "0001-01-01T00:00:00Z"
    assert after.exchanges[0].messages[0].fields["response_length"] == len(
        after.exchanges[0].messages[0].fields["response_body"]
    )


def test_what_came_later_still_comes_later(tmp_path: Path) -> None:
    """Messages that are a hundredth of a millisecond apart, of which times are kept to the millisecond."""
    _, _, after = reduced(save(tmp_path, "x") / "transcripts/engine/x.jsonl")

    first, second = after.exchanges[0].messages
    assert first.started < first.ended < second.started < second.ended
    assert second.ended - after.clock.monotonic == pytest.approx(0.0101, abs=0.002)


def test_bytes_that_are_compared_by_their_digest_stay(tmp_path: Path) -> None:
    """An id in a process's image: CRIU writes the names of control groups there."""
    image = b"\xff\xfe" + secrets.token_hex(32).encode()
    file = save(tmp_path, "x") / "transcripts/engine/x.jsonl"
    encoded = json.dumps({"$bytes": base64.b64encode(image).decode("ascii")})
    file.write_text(file.read_text().replace('"json": {', f'"json": {{"data": {encoded}, '))

    lines, before, after = reduced(file)

    assert is_faithful(before, after)
    assert after.exchanges[0].facets["json"]["data"] == image
    assert lines[1:] != file.read_text().split("\n")[1:]


def test_the_search_path_of_the_machine_does_not_stay() -> None:
    exchange = {
        "name": "ps",
        "sent": {"argv": ["docker", "ps"], "env": {"PATH": "/home/me/bin", "LANG": "C"}},
    }
    lines = ['{"sixhops-transcript": 1}', json.dumps(exchange), ""]

    head, other = map(json.loads, without_search_path(lines))

    assert head == {"sixhops-transcript": 1}
    assert other["sent"]["env"]["LANG"] == "C"
    assert "/home/me" not in other["sent"]["env"]["PATH"]
    assert other["sent"]["argv"] == exchange["sent"]["argv"]


@pytest.mark.parametrize("file", REAL, ids=[file.stem for file in REAL])
def test_real_runs_are_reduced_faithfully(file: Path) -> None:
    lines, before, after = reduced(file)

    assert is_faithful(before, after)
    assert lines[1:] != file.read_text().split("\n")[1:]
