"""A report as JUnit XML: a suite a column, a case a scenario, as pytest's own --junitxml has them. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sixhops.harness.report.model import Cell, Report, ScenarioRow

__all__ = ["junit_xml"]


def junit_xml(report: Report) -> str:
    """Return the document. Skips and known differences are `skipped`; a run that broke off is an `error`."""
    root = ET.Element("testsuites")
    for number, column in enumerate(report.columns):
        ran = [(row, cell) for row in report.rows if (cell := row.cells[number]) is not None]
        suite = ET.SubElement(root, "testsuite", name=_xml(column.name), timestamp=column.began)
        for row, cell in ran:
            _case(suite, row, cell)
        for attribute, tag in (("errors", "error"), ("failures", "failure"), ("skipped", "skipped")):
            suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
        suite.set("tests", str(len(ran)))
        suite.set("time", f"{sum(cell.seconds for _, cell in ran):.3f}")
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, row: ScenarioRow, cell: Cell) -> None:
    folder, _, name = row.id.rpartition("/")
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_xml(folder.replace("/", ".")),
        name=_xml(name),
        time=f"{cell.seconds:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for key, value in (("scenario", row.path), ("verdict", cell.verdict)):
        ET.SubElement(properties, "property", name=key, value=_xml(value))
    if cell.verdict == "failed":
        failure = ET.SubElement(case, "failure", message=_xml(cell.brief))
        failure.text = _xml(_failure_text(cell))
    elif cell.verdict == "broken off":
        ET.SubElement(case, "error", message=_xml(cell.brief))
    elif cell.verdict in {"skipped", "known"}:
        ET.SubElement(case, "skipped", message=_xml(cell.brief))


def _failure_text(cell: Cell) -> str:
    parts = [f"step {step + 1}: {name}\n{text}" for step, name, _, text in cell.failures]
    parts += [f"left behind: {item}" for item in cell.leftovers]
    return "\n".join(parts) or cell.brief


def _xml(text: str) -> str:
    """Return `text` with what XML 1.0 can't hold (section 2.2, Char) written as escapes."""
    return "".join(letter if _is_char(ord(letter)) else f"\\x{ord(letter):02x}" for letter in text)


def _is_char(code: int) -> bool:
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
