"""`python -m sixhops.shim`."""

from sixhops.shim.main import main

raise SystemExit(main())
