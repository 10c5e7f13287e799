"""The json-file log: how output is cut into records, what is on disk, and every way of reading it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.containers.logs import PARTIAL_SIZE, JsonFileLog, LineSplitter, Record, Selection
from sixhops.dockerd.containers.reading import LogReader, selection_of
from sixhops.dockerd.containers.streams import LogOptions
from sixhops.dockerd.containers.times import fixed, parse_query, parse_rfc3339, rfc3339
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

BOTH = frozenset({"stdout", "stderr"})
SECOND = 10**9


def lines(*texts: str, stream: str = "stdout", start: int = 1) -> list[Record]:
    return [Record(stream, text.encode(), (start + number) * SECOND) for number, text in enumerate(texts)]


@pytest.fixture
def log(tmp_path: Path) -> JsonFileLog:
    found = JsonFileLog(tmp_path / "x-json.log", {})
    found.open()
    return found


def texts(log: JsonFileLog, selection: Selection) -> list[str]:
    return [record.data.decode() for record in log.read(selection)]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_are_the_same_however_the_bytes_were_cut(size: int) -> None:
    data, splitter, found = b"one\ntwo\n\nthree", LineSplitter("stdout"), []
    for at in range(0, len(data), size):
        found += splitter.feed(data[at : at + size], 5)
    found += splitter.finish(6)

    assert [record.data for record in found] == [b"one\n", b"two\n", b"\n", b"three"]


def test_long_line_is_cut_and_its_parts_have_the_time_of_the_first() -> None:
    splitter = LineSplitter("stdout")
    found = splitter.feed(b"x" * (PARTIAL_SIZE + 1), 5) + splitter.feed(b"y\nz\n", 9)

    assert [(len(record.data), record.time) for record in found] == [(PARTIAL_SIZE, 5), (3, 5), (2, 9)]


def test_line_of_exactly_the_limit() -> None:
    found = LineSplitter("stdout").feed(b"x" * PARTIAL_SIZE + b"\n", 5)

    assert [len(record.data) for record in found] == [PARTIAL_SIZE, 1]


def test_file_is_dockers(log: JsonFileLog) -> None:
    log.write([Record("stderr", "<é>\n".encode(), parse_rfc3339("2026-11-23T16:48:31.22258791Z"))])

    stored = log.path.read_text()
    assert stored == '{"log":"\\u003cé\\u003e\\n","stream":"stderr","time":"2026-11-23T16:48:31.22258791Z"}\n'


def test_tail_counts_both_streams(log: JsonFileLog) -> None:
    log.write(lines("1\n", "2\n", "3\n") + lines("e\n", stream="stderr", start=9))

    assert texts(log, Selection(frozenset({"stdout"}), tail=2)) == ["3\n"]
    assert texts(log, Selection(BOTH, tail=2)) == ["3\n", "e\n"]
    assert texts(log, Selection(BOTH, tail=0)) == []
    assert texts(log, Selection(BOTH, tail=99)) == ["1\n", "2\n", "3\n", "e\n"]


def test_tail_over_many_blocks(log: JsonFileLog) -> None:
    log.write(lines(*(f"{number} {'x' * 100}\n" for number in range(1500))))

    found = texts(log, Selection(BOTH, tail=1200))
    assert (len(found), found[0].split()[0], found[-1].split()[0]) == (1200, "300", "1499")


def test_time_span(log: JsonFileLog) -> None:
    log.write(lines("1\n", "2\n", "3\n"))

    assert texts(log, Selection(BOTH, since=2 * SECOND)) == ["2\n", "3\n"]
    assert texts(log, Selection(BOTH, until=2 * SECOND)) == ["1\n", "2\n"]


def test_torn_last_line_is_left_out(log: JsonFileLog) -> None:
    log.write(lines("1\n"))
    with log.path.open("ab") as file:
        file.write(b'{"log":"half')

    assert texts(log, Selection(BOTH)) == ["1\n"]


def test_rotation_keeps_the_number_of_files(tmp_path: Path) -> None:
    log = JsonFileLog(tmp_path / "log", {"max-size": "100", "max-file": "2"})
    log.open()
    for number in range(10):
        log.write(lines(f"{number}{'x' * 60}\n"))
    log.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert [text[0] for text in texts(log, Selection(BOTH))] == ["8", "9"]
    assert [text[0] for text in texts(log, Selection(BOTH, tail=2))] == ["8", "9"]


@pytest.mark.parametrize(
    "options", [{"max-size": "x"}, {"max-size": "0"}, {"max-file": "0", "max-size": "1k"}, {"max-file": "3"}]
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(EngineError):
        JsonFileLog(tmp_path / "log", options)


def test_follow_tells_old_and_new_through_rotation_and_ends_with_the_writer(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        log = JsonFileLog(tmp_path / "log", {"max-size": "100", "max-file": "5"})
        log.open()
        log.write(lines("old\n"))
        found: list[str] = []

        async def follow() -> None:
            async for record in log.follow(Selection(BOTH)):
                found.append(record.data.decode()[:3])  # noqa: PERF401 - in turn with the writer

        task = asyncio.create_task(follow())
        for number in range(4):
            await asyncio.sleep(0)
            log.write(lines(f"n{number}{'x' * 90}\n"))
        log.close()
        await asyncio.wait_for(task, 5)
        return found

    assert asyncio.run(scenario()) == ["old", "n0x", "n1x", "n2x", "n3x"]


def test_reader_frames_and_stamps(log: JsonFileLog) -> None:
    log.write(lines("a\n"))
    options = LogOptions(stdout=True, timestamps=True)

    async def read(*, tty: bool) -> bytes:
        return b"".join([piece async for piece in LogReader(log, options, tty=tty)])

    bare = b"1970-01-01T00:00:01.000000000Z a\n"
    assert asyncio.run(read(tty=True)) == bare
    assert asyncio.run(read(tty=False)) == b"\x01\0\0\0\0\0\0" + bytes([len(bare)]) + bare


def test_no_stream_chosen() -> None:
    with pytest.raises(EngineError, match="Bad parameters: you must choose at least one stream"):
        selection_of(LogOptions())


def test_driver_none_can_not_be_read() -> None:
    with pytest.raises(EngineError, match="configured logging driver does not support reading"):
        LogReader(None, LogOptions(stdout=True), tty=False)


def test_times() -> None:
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert rfc3339(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert fixed(1_500_000_000) == "1970-01-01T00:00:01.500000000Z"
    assert parse_query("1.5") == 1_500_000_000
    assert parse_query("0") is None
    with pytest.raises(EngineError):
        parse_query("yesterday")


def test_every_stored_line_is_json(log: JsonFileLog) -> None:
    log.write([Record("stdout", bytes(range(256)), 1)])

    assert [json.loads(line)["stream"] for line in log.path.read_text().splitlines()] == ["stdout"]
