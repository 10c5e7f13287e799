"""`python -m sixhops.runc`."""

from sixhops.runc.main import main

if __name__ == "__main__":
    raise SystemExit(main())
