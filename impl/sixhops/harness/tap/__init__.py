"""Recorders on hops: they pass bytes through unchanged and say what they saw."""
