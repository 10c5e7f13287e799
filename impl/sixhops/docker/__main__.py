"""`python -m sixhops.docker`: the same as the console script sixhops-docker."""

import sys

from sixhops.docker.main import main

sys.exit(main())
