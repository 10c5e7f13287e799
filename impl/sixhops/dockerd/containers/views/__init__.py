"""Containers as the API shows them: inspect, list, stats, top; and which of them a filter takes."""
