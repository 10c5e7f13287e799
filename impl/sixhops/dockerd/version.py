"""Which engine this is: the one place for its version, and the API versions that it speaks."""

from __future__ import annotations

__all__ = ["API_VERSION", "MINIMUM_API_VERSION", "SERVER", "VERSION"]

#: Behaves as Docker's engine of this version; the suffix says whose it is.
VERSION = "20.10.24+sixhops"
API_VERSION = "1.41"
MINIMUM_API_VERSION = "1.12"
#: The Server header.
SERVER = f"Docker/{VERSION} (linux)"
