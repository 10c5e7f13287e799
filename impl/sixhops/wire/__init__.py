"""Formats that two programs share: bytes in, values out; no program and no harness is imported here."""
