"""A container or an exec that this terminal is joined to."""
