"""sixhops-docker: the client, the first program of the path. It knows the Engine API and nothing else.

A command line becomes requests to one engine, and their answers become docker's own output and exit status.
`main` picks the command, `flags` reads its options, `commands` holds one module for each family of commands,
`client` speaks HTTP (`http` is its codec, without sockets), `relay` joins a hijacked connection to the terminal.

An interpreter starts for each `docker run`, so what a command does not need is not imported.
"""
