"""Documents of the page: where failures are marked, what stands beside what, values that a page can take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from saved_runs import HOSTILE, REAL, Run, call, request

from sixhops.harness.report.compare import compare
from sixhops.harness.report.document import document_of, picture_of
from sixhops.harness.report.values import LONGEST_TEXT, MOST_ITEMS, page_value
from sixhops.harness.run.transcript import Judgement, Transcript, read_transcript

if TYPE_CHECKING:
    from pathlib import Path

START = {"status": 204}


def document(transcript: Transcript) -> dict[str, Any]:
    return document_of(transcript, picture_of(transcript))


def started(folder: Path, *, extra: str = "", status: int = 204, name: str = "reference") -> Transcript:
    step = request(0, "containers/1/start", 0.0, 1.0, status)
    step.messages = [
        call(1, "containerd", "Tasks/Create -> OK", 0.1, 0.6, namespace="moby", request={"id": "1"}),
        call(2, "runtime", "create -> 0", 0.2, 0.4, command="create", argv=["runc", "create", extra]),
        call(3, "containerd", "Tasks/Start -> OK", 0.7, 0.8, namespace="moby"),
    ]
    return read_transcript(Run(folder, name).scenario("engine/start", [step]))


def failed(transcript: Transcript, facet: str, path: str, text: str) -> dict[str, Any]:
    failure = {"facet": facet, "path": path, "hop": facet, "text": text}
    transcript.judgements[0] = Judgement("failed", (failure,))
    return document(transcript)


def marked(found: dict[str, Any]) -> str | None:
    at = found["steps"][0]["failures"][0]["message"]
    return None if at is None else found["messages"][at]["summary"]


@pytest.mark.parametrize(
    ("facet", "path", "text", "message"),
    [
        ("status", "status", "status is another one", "POST /v1.40/containers/1/start -> 204"),
        ("", "", "the connection broke", "POST /v1.40/containers/1/start -> 204"),
        ("containerd", "containerd[1].request.id", "differs", "Tasks/Start -> OK"),
        ("containerd", "containerd", "lacks message 2\n  the closest is [0] ...", "Tasks/Create -> OK"),
        ("runtime", "runtime", '  expected  {command: "create", config: {}}\n  seen', "create -> 0"),
        ("runtime", "runtime", '  expected  "kill"\n  seen      (nothing)', None),
        ("shim", "shim", "lacks message 0 of the expected list: nothing happened here", None),
    ],
)
def test_a_failure_is_marked_at_the_message_that_it_is_about(
    tmp_path: Path, facet: str, path: str, text: str, message: str | None
) -> None:
    assert marked(failed(started(tmp_path), facet, path, text)) == message


def test_a_known_difference_is_told_from_other_failures(tmp_path: Path) -> None:
    transcript = started(tmp_path)
    transcript.outcome["known"] = [{"step": "containers/1/start", "reason": "it is old", "ref": ""}]

    assert failed(transcript, "status", "status", "x")["steps"][0]["failures"][0]["known"] == "it is old"


def test_each_message_is_drawn_once_and_a_direct_call_not_a_second_time(tmp_path: Path) -> None:
    step = request(0, "direct", 0.0, 1.0)
    step.kind, step.sent = "grpc", {"path": "/containerd.T/Get", "messages": [{}]}
    step.messages = [
        call(1, "containerd", "T/Get -> OK", 0.1, 0.2, path="/containerd.T/Get", namespace="sixhops")
    ]
    found = document(read_transcript(Run(tmp_path).scenario("containerd/direct", [step])))

    assert [row[1] for row in found["steps"][0]["rows"]] == [0]
    assert [message["summary"] for message in found["messages"]] == ["containerd.T/Get -> 200", "T/Get -> OK"]


def test_a_real_run_has_all_its_messages_in_order_of_time() -> None:
    transcript = read_transcript(REAL / "transcripts/walkthrough/hello-world.jsonl")
    found = document(transcript)
    start = found["steps"][4]
    rows = [(row[0], found["messages"][row[1]]["summary"]) for row in start["rows"]]

    assert rows[0] == ("ask", next(text for kind, text in rows if kind == "answer" and "/start" in text))
    assert {"shim start -> 0", "create -> 0", "start -> 0"} <= {text for _, text in rows}
    assert [row[4] for row in start["rows"]] == sorted(row[4] for row in start["rows"])
    drawn = {row[1] for step in found["steps"] for row in step["rows"]}
    assert drawn == set(range(len(found["messages"])))
    json.dumps(found, allow_nan=False)


def test_equal_runs_have_their_messages_beside_each_other(tmp_path: Path) -> None:
    a, b = (picture_of(started(tmp_path / name, name=name)) for name in ("reference", "upstream"))
    found = compare(a, b, [])

    assert found["differences"] == []
    assert found["pairs"] == [[0, 0, [[0, 0], [1, 1], [2, 2], [3, 3]]]]


def test_a_difference_is_shown_at_the_messages_that_it_is_between(tmp_path: Path) -> None:
    a = picture_of(started(tmp_path / "a"))
    b = picture_of(started(tmp_path / "b", extra="--debug", status=500, name="upstream"))
    found = {item["path"]: item for item in compare(a, b, [])["differences"]}

    assert found["status"]["at"] == [0, 0]
    assert (found["argv.2"]["a"], found["argv.2"]["b"], found["argv.2"]["at"]) == ("", "--debug", [2, 2])


def test_a_message_that_only_one_has_stands_alone(tmp_path: Path) -> None:
    a, b = started(tmp_path / "a"), started(tmp_path / "b")
    # A later step, so that the recording has surely reached what comes before it.
    for transcript in (a, b):
        later = request(1, "wait", 5.0, 6.0)
        later.started, later.ended = (moment + transcript.clock.monotonic for moment in (5.0, 6.0))
        transcript.exchanges.append(later)
    b.exchanges[0].messages.pop()
    found = compare(picture_of(a), picture_of(b), [])

    (missing,) = found["differences"]
    assert (missing["kind"], missing["message"], missing["at"]) == ("missing", "Tasks/Start -> OK", [3, None])
    assert [3, None] in found["pairs"][0][2]


def test_messages_in_another_order_stand_beside_each_other(tmp_path: Path) -> None:
    a, b = started(tmp_path / "a"), started(tmp_path / "b")
    first, second, third = b.exchanges[0].messages
    b.exchanges[0].messages = [
        call(1, "runtime", second.summary, first.started, first.ended, **second.fields),
        call(2, "containerd", first.summary, second.started, second.ended, **first.fields),
        third,
    ]

    pairs = compare(picture_of(a), picture_of(b), [])["pairs"][0][2]

    assert sorted(pairs) == [[0, 0], [1, 2], [2, 1], [3, 3]]


def test_values_are_what_json_can_hold_and_a_page_can_carry() -> None:
    value = {
        "text": HOSTILE,
        "long": "x" * (LONGEST_TEXT + 5),
        "bytes": b"\xff\x00" * 5000,
        "words": b"plain text",
        "many": list(range(MOST_ITEMS + 3)),
        "number": float("nan"),
        "odd": {"$bytes": "not ours"},
    }
    found = page_value(value)

    assert found["text"] == HOSTILE
    assert found["long"]["length"] == LONGEST_TEXT + 5
    assert len(found["long"]["$cut"]) == LONGEST_TEXT
    assert found["bytes"]["length"] == 10000
    assert found["words"] == "plain text"
    assert found["many"][-1] == {"$more": 3}
    assert found["odd"] == {"$plain": {"$bytes": "not ours"}}
    json.dumps(found, allow_nan=False)
