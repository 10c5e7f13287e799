"""containerd-shim-sixhops-v1: the process that stands between containerd and one container, or a group of them.

It owns the containers' streams, reaps everything that they leave behind (it is a subreaper), keeps exit statuses until
they were asked for, and tells containerd what happened. It must outlive containerd, so it depends on nothing of it:
events that can't be delivered are dropped after some attempts, calls come in on a socket of its own.

One thread, one loop (`loop`), because a shim is forked and must stay small. The runtime (runc or ours) is a step that
ends before its answer is given; it is exec'd, or forked when it is ours and already loaded (`runtime`).

    main       command line: delete, -info, -v         startup    start: group, socket, address or bootstrap answer
    server     connections, calls in, answers out      service    the task service as a table of operations
    creation   Create, and Start of the first process  execs      Exec, and Start of both kinds
    exits      exits, Wait, Delete                     control    signals, freezing, limits, terminal, checkpoint
    questions  State, Pids, Stats, Connect             attach     a step of the runtime that makes a process
    container  what a shim holds                       process    life cycle tables of init and exec
    stdio console logger   fifos and files, terminals, logging programs
    runtime    one step of the OCI runtime             metrics    control group figures, want of memory
    publisher  events to containerd, in order          rehearsal  a shim's life, for nothing, once before all forks
    standby resident   a shim and a runtime in reserve, forked ahead      standin    the rehearsal's runtime
    dryrun     Create and Start for nothing, in a shim in reserve

Memory: whatever a shim touches after it was forked, it has for itself, and in this interpreter to read an object is to
write its reference count. Hence strings instead of paths, bare epoll, no enumerations and no JSON on the way to a
running container.
"""
