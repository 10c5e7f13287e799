"""`python -m sixhops` is the command `sixhops`."""

from __future__ import annotations

from sixhops.harness.cli import main

if __name__ == "__main__":
    main()
