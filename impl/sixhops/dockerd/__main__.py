"""`python -m sixhops.dockerd`."""

from sixhops.dockerd.main import main

if __name__ == "__main__":
    raise SystemExit(main())
