"""Performs scenarios: speaks to the target and collects exchanges; judges nothing by itself.

Import from the modules (`scenario.run_scenario` performs one); this package re-exports nothing, so that who reads a saved
run, or asks what a scenario needs, loads no client.
"""
