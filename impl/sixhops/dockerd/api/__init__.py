"""The Engine API over HTTP: one module a resource, each of which only translates requests to calls and values to answers."""
