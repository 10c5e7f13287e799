"""Transcripts shown: the text is safe for a terminal, HAR and trace are what their specifications say."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from click.testing import CliRunner

from sixhops.harness.cli import cli
from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.run.transcript import TranscriptWriter, read_transcript
from sixhops.harness.show import Choice, har_of, lines_of, trace_of
from sixhops.harness.show.calls import sent_line
from sixhops.harness.show.text import printable

if TYPE_CHECKING:
    from pathlib import Path

HEADER = {
    "scenario": "engine/a",
    "path": "scenarios/engine/a.yaml:1",
    "title": "pull",
    "hop": "engine",
    "target": {
        "name": "upstream",
        "engine_version": "20.10.24",
        "hops": {"engine": None, "shim": "no tap there", "runtime": "no tap there"},
    },
}
SENT = {"method": "POST", "target": "/images/create?fromImage=x&tag=", "headers": {"Host": "docker"}}


def registry(sequence: int, started: float, ended: float, **fields: Any) -> HopMessage:
    seen = {
        "method": "GET",
        "target": "/v2/x/blobs/1",
        "status": 200,
        "reason": "OK",
        "request_headers": {"host": "r:5000"},
        "response_headers": {"content-type": "application/octet-stream"},
        "response_body": b"\xff\x00",
        "response_length": 2,
        "error": None,
        **fields,
    }
    return HopMessage("registry", sequence, started, ended, "GET /v2/x/blobs/1 -> 200", seen)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    writer = TranscriptWriter(tmp_path / "t/a.jsonl", tmp_path / "bodies", HEADER)
    writer.begin({})
    at = read_transcript(writer.path).clock.monotonic
    pulled = Exchange(
        0, "pull it", "request", at, at + 1, SENT, {"status": 200, "body": "{}\r\n", "json": {}}
    )
    pulled.messages = [
        registry(1, at + 0.1, at + 0.5),
        registry(2, at + 0.2, at + 0.4),
        HopMessage("shim", 3, at + 0.3, at + 0.3, "Create \x1b[31m -> OK", {"id": "a\x1b]0;x\x07b"}),
    ]
    attach = {"method": "POST", "target": "/attach", "headers": {}, "body": b"\xfe", "body_length": 1}
    begun = Exchange(1, "attach", "request", at + 1, at + 1.1, attach, {"status": 101}, complete=False)
    joined = Exchange(
        2, "join", "join", at + 2, at + 3, attach, {"status": 101, "body": "late", "reason": "U"}
    )
    seen = Exchange(3, "see", "processes", at + 3, at + 3.5, facets={"processes": []}, error="gone")
    for exchange in (pulled, begun, joined, seen):
        writer.exchange(exchange)
    writer.finish(
        {"verdict": "failed", "seconds": 3.5, "leftovers": ["a mount"], "logs": {"dockerd": "oh\x07"}}
    )
    return writer.path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["show", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_steps_and_messages_come_in_order_of_time(file: Path) -> None:
    lines = run(file).splitlines()

    assert lines[0] == "engine/a  pull"
    assert lines[2] == "  not seen: shim, runtime: no tap there"
    assert lines[3:6] == [
        "   0.000 s  unjudged 1. pull it  (request, 1.00 s)",
        "            POST /images/create?fromImage=x&tag= -> 200",
        "   0.100 s      registry   GET /v2/x/blobs/1 -> 200  (400.0 ms)",
    ]
    assert "   1.000 s  unjudged 2. attach  (request, 100.0 ms, still open)" in lines
    assert "            error: gone" in lines
    assert "  failed in 3.50 s" in lines
    assert "            left behind: a mount" in lines


@pytest.mark.parametrize(
    ("kind", "sent", "facets", "line"),
    [
        ("grpc", {"path": "/a.b.C/D", "messages": []}, {"status": "OK"}, "a.b.C/D -> OK"),
        ("grpc", {"path": "/a.b.C/D", "messages": []}, {}, "a.b.C/D -> no answer"),
        ("ttrpc", {"service": "a.T", "method": "Kill"}, {"status": "NOT_FOUND"}, "a.T/Kill -> NOT_FOUND"),
        ("runc", {"argv": ["runc", "list"], "cwd": "/"}, {"exit": 1}, "runc list -> 1"),
        ("docker", {"argv": ["docker", "ps"]}, {"exit": 0}, "docker ps -> 0"),
        ("request", SENT, {"status": 200}, "POST /images/create?fromImage=x&tag= -> 200"),
        ("bundle", {"image": "x", "path": "/b"}, {"path": "/b"}, ""),
        ("processes", {}, {}, ""),
    ],
)
def test_what_a_step_asked_for(kind: str, sent: dict[str, Any], facets: dict[str, Any], line: str) -> None:
    assert sent_line(Exchange(0, "x", kind, 0.0, 1.0, sent, facets)) == line


def test_no_control_character_reaches_the_terminal(file: Path) -> None:
    text = run(file, "-v")

    assert "Create \\x1b[31m -> OK" in text
    assert "000000  ff 00" in text
    assert not [character for character in text if ord(character) < 32 and character != "\n"]


@pytest.mark.parametrize("text", ["\x1b", "\x9b", "\u202e", "\ud800", "\n", "\u2028"])
def test_what_a_terminal_acts_upon_is_escaped(text: str) -> None:
    assert printable(f"a{text}b").isprintable()


def test_ordinary_text_stays() -> None:
    assert printable("Grüße ✓ 漢字") == "Grüße ✓ 漢字"


@pytest.mark.parametrize(
    ("arguments", "has", "lacks"),
    [
        (("--hop", "shim"), "Create", "GET /v2"),
        (("--step", "2"), "2. attach", "1. pull"),
        (("--step", "pu*"), "1. pull", "2. attach"),
        (("--step", "2-3"), "2. attach", "1. pull"),
    ],
)
def test_a_part_can_be_chosen(file: Path, arguments: tuple[str, ...], has: str, lacks: str) -> None:
    text = run(file, *arguments)

    assert has in text
    assert lacks not in text


def test_details_show_what_was_decoded_not_the_raw_body_as_well(file: Path) -> None:
    text = "\n".join(line.text for line in lines_of(read_transcript(file), Choice(details=True, step="1")))

    assert "json: {}" in text
    assert " body: " not in text


def test_colour_is_only_for_terminals(file: Path) -> None:
    assert "\x1b" not in run(file)
    assert "\x1b[31m" in CliRunner().invoke(cli, ["show", str(file)], color=True).output


#: HAR 1.2: what must be there, and of which type.
PAIRS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "value"],
        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
    },
}
MESSAGE = {
    "httpVersion": {"type": "string"},
    "cookies": {"type": "array"},
    "headers": PAIRS,
    "headersSize": {"type": "integer", "minimum": -1},
    "bodySize": {"type": "integer", "minimum": -1},
}
TIME = {"type": "string", "format": "date-time"}
HAR_SCHEMA = {
    "type": "object",
    "required": ["log"],
    "properties": {
        "log": {
            "type": "object",
            "required": ["version", "creator", "entries"],
            "properties": {
                "version": {"const": "1.2"},
                "creator": {"type": "object", "required": ["name", "version"]},
                "pages": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["startedDateTime", "id", "title", "pageTimings"],
                        "properties": {"startedDateTime": TIME},
                    },
                },
                "entries": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["startedDateTime", "time", "request", "response", "cache", "timings"],
                        "properties": {
                            "startedDateTime": TIME,
                            "time": {"type": "number", "minimum": 0},
                            "request": {
                                "type": "object",
                                "required": [*MESSAGE, "method", "url", "queryString"],
                                "properties": {
                                    **MESSAGE,
                                    "url": {"type": "string", "format": "uri", "pattern": "^http://"},
                                    "queryString": PAIRS,
                                    "postData": {
                                        "type": "object",
                                        "required": ["mimeType", "params", "text"],
                                    },
                                },
                            },
                            "response": {
                                "type": "object",
                                "required": [*MESSAGE, "status", "statusText", "content", "redirectURL"],
                                "properties": {
                                    **MESSAGE,
                                    "status": {"type": "integer"},
                                    "content": {
                                        "type": "object",
                                        "required": ["size", "mimeType"],
                                        "properties": {
                                            "size": {"type": "integer", "minimum": 0},
                                            "encoding": {"const": "base64"},
                                        },
                                    },
                                },
                            },
                            "timings": {"type": "object", "required": ["send", "wait", "receive"]},
                        },
                    },
                },
            },
        }
    },
}


def test_har_has_the_published_structure(file: Path) -> None:
    har = har_of([read_transcript(file)])

    jsonschema.validate(har, HAR_SCHEMA, format_checker=jsonschema.FormatChecker())
    pages = {page["id"] for page in har["log"]["pages"]}
    assert {entry["pageref"] for entry in har["log"]["entries"]} == pages


def test_har_has_each_call_once_with_its_last_answer(file: Path) -> None:
    entries = har_of([read_transcript(file)])["log"]["entries"]

    assert [(entry["_hop"], entry["_client"], entry["request"]["url"]) for entry in entries] == [
        ("engine", "step", "http://docker/images/create?fromImage=x&tag="),
        ("registry", "tap", "http://r:5000/v2/x/blobs/1"),
        ("registry", "tap", "http://r:5000/v2/x/blobs/1"),
        ("engine", "step", "http://engine/attach"),
    ]
    attached = entries[-1]
    assert attached["response"]["content"]["text"] == "late"
    assert attached["time"] == pytest.approx(2000)
    assert attached["request"]["postData"]["text"] == "/g=="
    assert entries[0]["request"]["queryString"] == [
        {"name": "fromImage", "value": "x"},
        {"name": "tag", "value": ""},
    ]
    assert entries[1]["response"]["content"] == {
        "size": 2,
        "mimeType": "application/octet-stream",
        "text": "/wA=",
        "encoding": "base64",
    }


def test_trace_events_are_well_formed(file: Path) -> None:
    trace = json.loads(json.dumps(trace_of([read_transcript(file)] * 2)))

    events = trace["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X", "s", "t", "f"}
    assert all({"name", "pid", "tid", "ts"} <= event.keys() for event in events)
    assert all(event["dur"] > 0 for event in events if event["ph"] == "X")
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in events if event["ph"] != "M"} == named


def test_trace_slices_of_a_track_do_not_overlap(file: Path) -> None:
    slices = [event for event in trace_of([read_transcript(file)])["traceEvents"] if event["ph"] == "X"]

    tracks: dict[int, list[dict[str, Any]]] = {}
    for event in slices:
        tracks.setdefault(event["tid"], []).append(event)
    assert len(tracks) == 5  # steps, registry twice, shim, engine
    for events in tracks.values():
        events.sort(key=lambda event: event["ts"])
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in itertools.pairwise(events))


def test_trace_flows_lead_from_a_step_to_its_messages(file: Path) -> None:
    events = trace_of([read_transcript(file)])["traceEvents"]

    flow = [event for event in events if event.get("id") == "1.0"]
    assert [event["ph"] for event in flow] == ["s", "t", "t", "t", "f"]
    slices = [event for event in events if event["ph"] == "X"]
    for point in flow:
        assert any(
            s["tid"] == point["tid"] and s["ts"] <= point["ts"] <= s["ts"] + s["dur"] for s in slices
        ), point


def test_exports_are_written_and_nothing_else_is_said(file: Path, tmp_path: Path) -> None:
    assert run(file, "--har", tmp_path / "x.har", "--perfetto", tmp_path / "x.json") == ""

    assert json.loads((tmp_path / "x.har").read_text())["log"]["version"] == "1.2"
    assert json.loads((tmp_path / "x.json").read_text())["displayTimeUnit"] == "ms"
    assert json.loads(run(file, "--har", "-"))["log"]["entries"]


def test_bad_input_is_usage(file: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.jsonl").write_text("{")
    (tmp_path / "empty").mkdir()

    assert "torn.jsonl:1:1: not a transcript" in run(tmp_path / "torn.jsonl", code=4)
    assert "no such transcript" in run(tmp_path / "absent", code=4)
    assert "can't write" in run(file, "--har", tmp_path / "no/such/x.har", code=4)
    assert run(tmp_path / "empty", code=5) == "there is no transcript here\n"
