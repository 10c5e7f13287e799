"""The files of a report, and the command that makes them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from saved_runs import HOSTILE, REAL, Run, call, request

from sixhops.harness.cli import cli
from sixhops.harness.errors import Mark, UsageError
from sixhops.harness.judge import Failure, Status, StepVerdict
from sixhops.harness.report import gather, write_report
from sixhops.harness.report.page import SCRIPTS, html_page

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


def failing(step: int, name: str, problem: str) -> StepVerdict:
    failure = Failure(step, name, "engine", "status", "status", problem, 200, 500, Mark("a.yaml", 3, 5))
    return StepVerdict(step, Status.FAILED, (failure,), {}, {}, None)  # type: ignore[arg-type]


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two runs: one that passes all, and one that fails, skips, knows, and breaks off."""
    ours, theirs = Run(tmp_path / "ours"), Run(tmp_path / "theirs", "upstream", engine_version="28.5.2")
    for name in ("engine/a", "engine/b", "engine/c[x/y]", "registry/d"):
        ours.scenario(name, [request(0, "create", 0.0, 0.5)])
    bad = request(0, HOSTILE, 0.0, 0.5, 500)
    bad.messages = [call(1, "registry", f"GET /v2/{HOSTILE} -> 200", 0.1, 0.2, response_body=HOSTILE)]
    problem = f"is another one {HOSTILE}"
    theirs.scenario(
        "engine/a", [bad], "failed", {0: failing(0, HOSTILE, problem)}, brief=problem, leftovers=["a mount"]
    )
    theirs.scenario("engine/b", [], "skipped", brief="the API is too old", skips=["the API is too old"])
    known = [{"step": "create", "reason": "it is old", "ref": ""}]
    theirs.scenario(
        "engine/c[x/y]", [request(0, "create", 0.0, 0.5)], "known", brief="it is old", known=known
    )
    theirs.scenario("registry/d", [request(0, "create", 0.0, 0.5)], "broken off")
    return [tmp_path / "ours", tmp_path / "theirs"]


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.output


def index_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="index">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def documents_of(page: str) -> list[dict[str, Any]]:
    chunks = re.findall(r'<script type="text/plain" id="chunk-\d+">(.*?)</script>', page, re.DOTALL)
    return [item for chunk in chunks for item in json.loads(gzip.decompress(base64.b64decode(chunk)))]


def test_a_column_for_each_run_and_a_row_for_each_scenario(two: list[Path]) -> None:
    report = gather(two)

    assert [(column.name, column.engine) for column in report.columns] == [
        ("reference", "20.10.24"),
        ("upstream", "28.5.2"),
    ]
    assert [row.id for row in report.rows] == ["engine/a", "engine/b", "engine/c[x/y]", "registry/d"]
    assert [cell and cell.verdict for cell in (row.cells[1] for row in report.rows)] == [
        "failed", "skipped", "known", "broken off"
    ]  # fmt: skip
    assert report.counts(1) == {"passed": 0, "failed": 1, "skipped": 1, "known": 1, "broken off": 1}
    assert report.hops(1) == {"engine": 3, "registry": 1}
    assert report.rows[0].differences[1] is not None


def test_two_runs_on_one_target_are_told_apart(tmp_path: Path) -> None:
    for name in ("monday", "tuesday"):
        Run(tmp_path / name).scenario("engine/a", [request(0, "x", 0.0, 0.1)])

    assert [column.name for column in gather([tmp_path / "tuesday", tmp_path / "monday"]).columns] == [
        "reference tuesday",
        "reference monday",
    ]


def test_a_file_that_is_no_transcript_is_told_and_the_rest_is_reported(two: list[Path]) -> None:
    (two[0] / "transcripts" / "odd.jsonl").write_text("{}\n")

    output = run("report", *two, "-o", two[0] / "report", code=4)

    assert "odd.jsonl:1:1: not a transcript" in output
    assert len(index_of((two[0] / "report/index.html").read_text())["rows"]) == 4


def test_nothing_to_report_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no transcript here"):
        gather([tmp_path])


def test_the_page_has_nothing_from_elsewhere_and_says_so_to_the_browser(two: list[Path]) -> None:
    page = html_page(gather(two), "a & b <c>")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)

    assert "<title>a &amp; b &lt;c&gt;</title>" in page
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert not re.search(r"""(src|href)=["'](?!#|data:,)""", page)
    assert not re.search(r"url\(|@import", page)


def test_the_scripts_never_make_markup_from_texts() -> None:
    from importlib.resources import files

    text = "".join(files("sixhops.harness.report").joinpath("static", name).read_text() for name in SCRIPTS)

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp", text
    )


def test_hostile_texts_stay_texts(two: list[Path]) -> None:
    page = html_page(gather(two), "report")

    assert page.count("<img") == 0
    (document,) = (item for item in documents_of(page) if item["id"] == "engine/a")
    assert document["runs"][1]["messages"][1]["fields"]["response_body"] == HOSTILE
    assert index_of(page)["rows"][0]["cells"][1]["brief"] == f"is another one {HOSTILE}"


def test_the_same_report_is_the_same_page(two: list[Path]) -> None:
    assert html_page(gather(two), "report") == html_page(gather(two), "report")


def test_junit_counts_what_it_has(two: list[Path], tmp_path: Path) -> None:
    write_report(gather(two), tmp_path / "out")
    suites = ET.parse(tmp_path / "out/junit.xml").getroot()
    ours, theirs = suites

    assert [ours.get(name) for name in ("name", "tests", "failures", "errors", "skipped")] == [
        "reference",
        "4",
        "0",
        "0",
        "0",
    ]
    assert [theirs.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "2"]
    for suite in suites:
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.get(attribute) == str(len(suite.findall(f"testcase/{tag}")))
    failure = theirs.find("testcase/failure")
    assert failure is not None
    assert "expected  200" in (failure.text or "")
    assert "left behind: a mount" in (failure.text or "")
    assert "\\x1b" in (failure.text or "")


def test_the_summary_says_what_failed_where(two: list[Path], tmp_path: Path) -> None:
    write_report(gather(two), tmp_path / "out")
    data = json.loads((tmp_path / "out/summary.json").read_text())
    result = data["scenarios"][0]["results"][1]

    assert data["format"] == 1
    assert data["columns"][1]["counts"]["failed"] == 1
    assert data["columns"][1]["folders"]["registry"]["broken off"] == 1
    assert (result["verdict"], result["failures"][0]["facet"]) == ("failed", "status")
    assert result["leftovers"] == ["a mount"]


def test_the_markdown_has_no_markup_but_its_own(two: list[Path], tmp_path: Path) -> None:
    write_report(gather(two), tmp_path / "out", "runs | of *two*")
    text = (tmp_path / "out/summary.md").read_text()

    assert text.startswith("## runs \\| of \\*two\\*\n")
    assert "| upstream | 28.5.2 | 4 | 0 | 2 | 1 | 1 |" in text
    assert "- `engine/a`: is another one &lt;/script&gt;&lt;img" in text
    assert "<img" not in text


def test_a_folder_that_cannot_be_written_is_bad_usage(two: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "can't write the report" in run("report", *two, "-o", tmp_path / "file/x", code=4)


def test_the_command_tells_the_counts_and_the_place(two: list[Path], tmp_path: Path) -> None:
    output = run("report", *two, "-o", tmp_path / "out", "--no-diff", "--title", "Two engines")

    assert "reference, engine 20.10.24: 4 passed\n" in output
    assert f"report: {tmp_path / 'out/index.html'}\n" in output
    assert index_of((tmp_path / "out/index.html").read_text())["title"] == "Two engines"
    assert index_of((tmp_path / "out/index.html").read_text())["rows"][0]["differences"] == [None, None]


def test_a_picture_of_a_real_run_shows_every_message_of_the_step(tmp_path: Path) -> None:
    file = REAL / "transcripts/walkthrough/hello-world.jsonl"

    run("report", file, "--svg", tmp_path / "start.svg", "--step", "5")
    root = ET.parse(tmp_path / "start.svg").getroot()
    labels = [item.text for item in root.iter(f"{SVG}text") if "label" in (item.get("class") or "")]

    assert labels[0].endswith("…/start")  # type: ignore[union-attr]
    assert {"shim start → 0", "create → 0", "start → 0", "event /tasks/exit", "OK ← Create"} <= set(labels)
    assert len(list(root.iter(f"{SVG}path"))) == 2 * len(labels)


def test_a_picture_of_one_hop_and_of_processes(tmp_path: Path) -> None:
    file = REAL / "transcripts/walkthrough"

    run("report", file / "hello-world.jsonl", "--svg", tmp_path / "a.svg", "--hop", "runtime")
    run("report", file / "process-tree.jsonl", "--svg", tmp_path / "b.svg", "--step", "the container's*")

    assert {"create → 0", "start → 0", "delete → 0"} == {
        item.text
        for item in ET.parse(tmp_path / "a.svg").getroot().iter(f"{SVG}text")
        if "label" in item.get("class", "")
    }
    assert re.search(r"containerd-shim \(\d+\) └─ sleep \(\d+\)", (tmp_path / "b.svg").read_text())


def test_a_picture_of_hostile_texts_is_well_formed(two: list[Path]) -> None:
    text = run("report", two[1] / "transcripts/engine/a.jsonl", "--svg", "-")

    assert ET.fromstring(text).tag == f"{SVG}svg"
    assert "<img" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--svg", "-"], "--svg draws one transcript, and these are 4"),
        (["--step", "2"], "--hop and --step choose what a picture shows"),
    ],
)
def test_wrong_combinations_are_bad_usage(two: list[Path], arguments: list[str], says: str) -> None:
    assert says in run("report", two[0], *arguments, code=4)


def test_a_step_that_is_not_there_is_bad_usage(two: list[Path]) -> None:
    file = two[0] / "transcripts/engine/a.jsonl"

    assert "no step of engine/a is called 'nope'" in run(
        "report", file, "--svg", "-", "--step", "nope", code=4
    )
