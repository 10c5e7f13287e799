"""A saved transcript for people and for other tools: readable text, HAR (HTTP hops), a Chrome/Perfetto trace."""

from __future__ import annotations

from sixhops.harness.show.har import har_of
from sixhops.harness.show.text import Choice, lines_of
from sixhops.harness.show.trace import trace_of

__all__ = ["Choice", "har_of", "lines_of", "trace_of"]
