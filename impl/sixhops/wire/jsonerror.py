"""What Go's parser says of bad JSON: an error that several programs pass on."""

from __future__ import annotations

__all__ = ["json_error"]


def json_error(data: bytes, error: Exception) -> str:
    """Return what Go's parser says of bad JSON, as far as a user would look for it."""
    position = getattr(error, "pos", None)
    text = data.decode(errors="replace")
    if position is None:
        return f"json: cannot unmarshal into Go value: {error}"
    if position >= len(text.rstrip()):
        return "unexpected end of JSON input"
    return f"invalid character {text[position]!r} looking for beginning of value"
