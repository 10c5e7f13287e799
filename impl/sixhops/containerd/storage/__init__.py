"""Content and layers on disk: blobs, snapshots, archives, and the mounts that work on them needs."""
