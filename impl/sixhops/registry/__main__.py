"""`python -m sixhops.registry`."""

from sixhops.registry.main import main

main()
