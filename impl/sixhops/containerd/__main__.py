"""`python -m sixhops.containerd`."""

from sixhops.containerd.main import main

raise SystemExit(main())
