"""Log drivers: how output becomes records, how these are stored, and how they are read."""
