"""A container from outside: created, started, entered, ended, and what its state directory says meanwhile."""
