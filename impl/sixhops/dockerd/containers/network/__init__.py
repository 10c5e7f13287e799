"""Containers on networks: joining and leaving, links, and the files that networks decide."""
