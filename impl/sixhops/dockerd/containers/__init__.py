"""Containers: their documents, their life cycle, their streams and logs, and what containerd is told to run for them."""
