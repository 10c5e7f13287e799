"""The tap on a shim's socket: ttrpc, read alongside."""
