"""What the daemon is told.

`model` is the values, `flags` the command line, `configfile` daemon.json, `checks` what is refused; `reading` puts them
together.
"""

from sixhops.dockerd.options.flags import usage
from sixhops.dockerd.options.model import FlagError, Options, RuntimeProgram
from sixhops.dockerd.options.reading import DEFAULT_CONFIG, parse, reread

__all__ = ["DEFAULT_CONFIG", "FlagError", "Options", "RuntimeProgram", "parse", "reread", "usage"]
