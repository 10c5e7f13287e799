"""All files of a report, written into a folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sixhops.harness.errors import UsageError
from sixhops.harness.report.junit import junit_xml
from sixhops.harness.report.page import html_page
from sixhops.harness.report.summary import markdown, summary_data

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.report.model import Report

__all__ = ["TITLE", "write_report"]

TITLE = "The path of docker run"


def write_report(report: Report, folder: Path, title: str = TITLE) -> Path:
    """Write index.html, summary.json, junit.xml and summary.md into `folder`; return the page's path.

    A file appears under its name when it is whole. Raises UsageError when the folder can't be written.
    """
    texts = {
        "summary.json": json.dumps(summary_data(report), ensure_ascii=False, indent=1) + "\n",
        "junit.xml": junit_xml(report),
        "summary.md": markdown(report, title),
        "index.html": html_page(report, title),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            part = folder / f".{name}.part"
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
            part.replace(folder / name)
    except OSError as error:
        raise UsageError(f"can't write the report to {folder}: {error.strerror}") from error
    return folder / "index.html"
