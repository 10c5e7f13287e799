"""Configurations that the engine makes itself: of a commit, an import, and their change instructions."""
