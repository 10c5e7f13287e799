"""From a container's documents to the runtime's config.json, member for member as dockerd writes it."""
