"""The configuration file and the log."""
