"""The tap on the engine and registry hops: a proxy that understands HTTP/1.x, and what it does on purpose (`faults`)."""
