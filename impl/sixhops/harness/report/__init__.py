"""Reports of saved runs: one HTML page that stands alone, a JSON summary, JUnit XML, Markdown, and pictures as SVG.

All are made from transcripts alone (docs/results.md), so a report can be made again, and of runs on several targets, at any
time. `gather` reads them, `write_report` writes all files, `picture` draws one run. docs/report.md is the manual.
"""

from __future__ import annotations

from sixhops.harness.report.gather import gather
from sixhops.harness.report.model import Report
from sixhops.harness.report.svg import picture
from sixhops.harness.report.write import TITLE, write_report

__all__ = ["TITLE", "Report", "gather", "picture", "write_report"]
