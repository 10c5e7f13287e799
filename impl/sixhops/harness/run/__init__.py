"""Performs scenarios: speaks to the target and collects exchanges; judges nothing by itself."""
