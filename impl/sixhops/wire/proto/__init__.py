"""containerd's public interfaces as messages: our own .proto files, compiled when the package is built.

The `*_pb2` modules are made by `compile` (the build hook calls it; in a working tree call `python -m
sixhops.wire.proto.compile` after a .proto file was changed). They are never in git.
Services are not generated: the module `services` reads their methods from the descriptors, so client,
server, tap and test share one table.
"""
