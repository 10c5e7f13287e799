"""Sphinx: the documentation as a site. `make docs` builds it, and a warning fails the build."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from pathlib import Path

from sixhops.harness.cli.reference import command_reference

project = "sixhops"
author = "the sixhops authors"
version = release = installed_version("sixhops")
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "sixhops"
html_static_path: list[str] = []
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["runs"]
myst_heading_anchors = 3
# Shapes of data and trees of folders are no language.
highlight_language = "text"

# The commands say themselves what they take; the page is made anew with each build.
_generated = Path(__file__).parent / "generated"
_generated.mkdir(exist_ok=True)
(_generated / "cli.md").write_text(command_reference(), encoding="utf-8")
