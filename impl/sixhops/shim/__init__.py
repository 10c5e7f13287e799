"""containerd-shim-sixhops-v1: the process that stands between containerd and one container.

It owns the container's streams, reaps everything that the container leaves behind (it is a subreaper),
keeps exit statuses until they were asked for, and tells containerd what happened. It must outlive
containerd, so it depends on nothing of it: events that can't be delivered are dropped after some attempts,
calls come in on a socket of its own.

One thread, one loop (`loop`), because a shim is forked and must stay small. The runtime (runc or ours) is a
step that ends before its answer is given; it is exec'd, or forked when it is ours and already loaded
(`runtime`).

    main     command line: start, delete, -info          server    socket, calls in, answers out
    service  the task service's methods                  process   life cycle tables of init and exec
    processes runtime  one step of the OCI runtime                 stdio     fifos, pipes, terminals
    publisher  events to containerd, in order            metrics   cgroup figures and out-of-memory notices
"""
