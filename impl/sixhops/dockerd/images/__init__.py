"""Images: references, the store of configurations and names, layers on overlayfs, and the pull."""
