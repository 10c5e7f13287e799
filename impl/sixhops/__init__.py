"""sixhops: the conformance suite, and the reference implementation, of the whole `docker run` path."""
