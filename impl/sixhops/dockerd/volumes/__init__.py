"""Volumes: what there are of them (`store`), and the options of the `local` driver (`localdriver`)."""

from sixhops.dockerd.volumes.store import Volume, Volumes

__all__ = ["Volume", "Volumes"]
