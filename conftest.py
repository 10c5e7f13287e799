"""What both suites need: `tests/` (units of ours) and `conformance/` (scenarios against a target).

The plugin itself comes with the installed package, by its entry point; there is nothing to configure for it
here.
"""

from __future__ import annotations

pytest_plugins = ["pytester"]
