"""Puts this folder on the import path: `dockerd_asked` is for the tests below."""
