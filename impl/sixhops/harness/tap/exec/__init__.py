"""The tap on command lines, of shims and of the runtime: programs that stand in front of others."""
