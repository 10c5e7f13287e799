"""Comparing what was seen with what a scenario expects; pure, alike for live runs, replays and diffs."""

from sixhops.harness.match.compare import match, message_fields
from sixhops.harness.match.values import MISSING, Messages, Mismatch, render, type_name

__all__ = ["MISSING", "Messages", "Mismatch", "match", "message_fields", "render", "type_name"]
