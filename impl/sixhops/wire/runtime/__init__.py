"""The runtime specification's documents: the bundle's config.json and the container's state."""
