"""A Debian guest to run the suite against; `python -m ci.vm` is the door."""
