"""sixhops-containerd: containerd's API over SQLite, directories and shims.

One module a service and one a store:

    main      flags; starts the fork server, then everything else      config    config.toml
    app       wiring: stores, services, sockets, start and stop        rpc       gRPC calls in, answers out
    database  records and leases in SQLite                             filters   the filter language
    gc        what nobody refers to any more                           bus       events to subscribers
    content, snapshots, unpack                                         blobs, layers, extraction
    shims     starting, finding again and burying shims                services/ one module a service of the API

How a shim is started. `main` forks a *fork server* (sixhops.linux.forkserver) before grpc is imported: a
single-threaded copy with the shim and our runtime loaded. Tasks/Create asks it for a worker, which is a
clone with CLONE_PARENT: in the process table the shim is the child of containerd itself, as in the
walkthrough, and containerd is told of its end by a pidfd. When containerd dies, the shims go on as children
of init. A runtime whose shim is another program (`io.containerd.runc.v2` by default) is started by the
contract's own way, `containerd-shim-... start`.
"""
