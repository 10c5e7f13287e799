"""sixhops-dockerd: the engine. Serves the Engine API, pulls images, keeps containers, asks containerd to run them.

`api` only translates HTTP to calls; `images`, `containers` and `networks` are the nouns; `state` is the metadata on disk;
`main` reads the flags and wires the rooms together.
"""
