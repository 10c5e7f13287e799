"""What a reader of a hop's bytes raises."""

from __future__ import annotations

__all__ = ["ProtocolError"]


class ProtocolError(ValueError):
    """The bytes are not what is spoken on this hop, as far as a reader needs them to be."""
