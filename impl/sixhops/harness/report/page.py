"""The report as one HTML page that loads nothing: markup, style and script from `static`, data compressed inside it.

The index (what came of each scenario) is plain JSON. The documents behind it are gzipped JSON in base64, several to a chunk,
and are unpacked when somebody opens a scenario. A content security policy that names style and script by their hashes keeps
the page from loading anything, and data from becoming script.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.report.explanations import explanations, walkthrough_for
from sixhops.harness.report.model import VERDICTS
from sixhops.harness.scenario.model import Hop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.report.model import Cell, Report, ScenarioRow

__all__ = ["FORMAT", "SCRIPTS", "html_page"]

FORMAT: Final = 1
"""Version of the data in the page; script and data always come from the same sixhops, so nobody reads another one."""

SCRIPTS: Final = (
    "base.js",
    "values.js",
    "message.js",
    "picture.js",
    "scenario.js",
    "matrix.js",
    "walkthrough.js",
    "main.js",
)
"""The script's parts, in the order in which they need each other."""

#: Characters of JSON in a chunk: large enough that alike documents share what they say, small enough to open at once.
_CHUNK: Final = 600_000
_HOPS: Final = tuple(str(hop) for hop in Hop)


def html_page(report: Report, title: str) -> str:
    """Return the page; the same report always gives the same page."""
    style = _asset("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    chunks, places = _chunks(report)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("page.html")).substitute(
        title=html.escape(title),
        version=version("sixhops"),
        policy=policy,
        style=style,
        script=script,
        index=_json_in_html(_index(report, title, places)),
        chunks="\n".join(
            f'<script type="text/plain" id="chunk-{number}">{text}</script>'
            for number, text in enumerate(chunks)
        ),
    )


def _asset(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json_in_html(data: Any) -> str:
    """Return JSON that is the same JSON inside an HTML script element, whatever texts are in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate is no UTF-8; in JSON it can be written as an escape.
    text = "".join(f"\\u{ord(c):04x}" if 0xD800 <= ord(c) < 0xE000 else c for c in text)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _chunks(report: Report) -> tuple[list[str], dict[str, int]]:
    """Return the documents' chunks, and for each scenario the number of its chunk."""
    chunks: list[str] = []
    places: dict[str, int] = {}
    for rows in _parts(report):
        for row, _ in rows:
            places[row.id] = len(chunks)
        text = "[" + ",".join(text for _, text in rows) + "]"
        packed = gzip.compress(text.encode("utf-8", "surrogatepass"), compresslevel=6, mtime=0)
        chunks.append(base64.b64encode(packed).decode("ascii"))
    return chunks, places


def _parts(report: Report) -> Iterator[list[tuple[ScenarioRow, str]]]:
    part: list[tuple[ScenarioRow, str]] = []
    size = 0
    for row in report.rows:
        document = {key: row.document[key] for key in ("id", "runs", "diffs")}
        text = json.dumps(document, separators=(",", ":"))
        if part and size + len(text) > _CHUNK:
            yield part
            part, size = [], 0
        part.append((row, text))
        size += len(text)
    if part:
        yield part


def _index(report: Report, title: str, places: dict[str, int]) -> dict[str, Any]:
    hops = [report.hops(number) for number in range(len(report.columns))]
    return {
        "format": FORMAT,
        "title": title,
        "verdicts": VERDICTS,
        "problems": report.problems,
        "hops": [sum(column.get(hop, 0) for column in hops) for hop in _HOPS],
        "columns": [
            {
                "name": column.name,
                "engine": column.engine,
                "run": column.run,
                "began": column.began,
                "programs": column.programs,
                "unseen": column.unseen,
                "unseenIn": column.unseen_in,
                "counts": report.counts(number),
            }
            for number, column in enumerate(report.columns)
        ],
        "rows": [
            {
                "id": row.id,
                "title": row.title,
                "hop": row.hop,
                "path": row.path,
                "chunk": places[row.id],
                "cells": [None if cell is None else _cell(cell) for cell in row.cells],
                "differences": row.differences,
            }
            for row in report.rows
        ],
        "explanations": explanations(),
        "walkthrough": walkthrough_for({row.id for row in report.rows}),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "verdict": cell.verdict,
        "seconds": round(cell.seconds, 3),
        "hops": [cell.hops.get(hop, 0) for hop in _HOPS],
        "brief": cell.brief,
    }
