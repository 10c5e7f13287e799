"""The kernel's side of the stack: one module a facility, over the C library, knowing neither programs nor harness."""
