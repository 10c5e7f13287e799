"""The documentation builds without warnings, its pictures are those of the recorded run, its commands page is complete."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sixhops.harness.cli import cli
from sixhops.harness.cli.reference import command_reference

DOCS = Path(__file__).parents[2] / "docs"


def pictures() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("docs_pictures", DOCS / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return {name: module.drawn(name) for name in module.PICTURES}


def test_the_pictures_are_those_of_the_recorded_run() -> None:
    for name, text in pictures().items():
        assert (DOCS / "pictures" / f"{name}.svg").read_text() == text, "run: python docs/pictures.py"


def test_every_picture_is_used() -> None:
    texts = "".join(path.read_text() for path in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"])

    for path in (DOCS / "pictures").iterdir():
        # The picture of the page itself is the README's.
        assert f"pictures/{path.name}" in texts or path.name == "report.png"


def test_the_commands_page_has_every_command_and_option() -> None:
    page = command_reference()

    assert set(re.findall(r"^## sixhops (\S+)$", page, re.MULTILINE)) == set(cli.commands)
    for option in ("--baseline RUN", "--report DIR", "--target TARGET", "--taps auto\\|all\\|outer"):
        assert f"`{option}`" in page


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the group docs is not installed")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-d",
        str(tmp_path / "d"),
    ]

    done = subprocess.run(
        [*command, str(DOCS), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stderr == ""
    assert done.returncode == 0
    pages = [path.read_text() for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) > 15
    # Nothing is loaded from elsewhere.
    assert not [
        found
        for page in pages
        for found in re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', page)
    ]
